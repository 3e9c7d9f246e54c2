package journal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// TensorBoard's file is a series of TFRecords, each
//
//	uint64 length, uint32 masked CRC-32C of it, data, uint32 masked CRC-32C of the data
//
// in little-endian order, whose data are Event messages (tensorflow's
// core/util/event.proto and core/framework/summary.proto). Their fields:
const (
	eventTime    = 1 // double, seconds since 1970
	eventStep    = 2 // int64
	eventVersion = 3 // string, in the first record
	eventSummary = 5 // Summary
	summaryValue = 1 // Value, repeated
	valueTag     = 1 // string
	valueSimple  = 2 // float
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// masked is a checksum turned by 15 bits, so that one over data that has
// checksums in it is not special.
func masked(data []byte) uint32 {
	c := crc32.Checksum(data, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

func appendRecord(to, data []byte) []byte {
	head := binary.LittleEndian.AppendUint64(nil, uint64(len(data)))
	to = binary.LittleEndian.AppendUint32(append(to, head...), masked(head))
	return binary.LittleEndian.AppendUint32(append(to, data...), masked(data))
}

func event(now float64, step int) []byte {
	e := protowire.AppendTag(nil, eventTime, protowire.Fixed64Type)
	e = protowire.AppendFixed64(e, math.Float64bits(now))
	if step == 0 {
		return e // proto3 leaves out what is 0
	}
	e = protowire.AppendTag(e, eventStep, protowire.VarintType)
	return protowire.AppendVarint(e, uint64(step))
}

func versionRecord(now float64) []byte {
	e := protowire.AppendTag(event(now, 0), eventVersion, protowire.BytesType)
	return appendRecord(nil, protowire.AppendString(e, "brain.Event:2"))
}

func scalars(to []byte, now time.Time, step int, values map[string]float64) []byte {
	return appendScalars(to, float64(now.UnixMilli())/1000, step, values)
}

func appendScalars(to []byte, now float64, step int, values map[string]float64) []byte {
	if len(values) == 0 {
		return to
	}
	var summary []byte
	for _, name := range slices.Sorted(maps.Keys(values)) {
		v := protowire.AppendString(protowire.AppendTag(nil, valueTag, protowire.BytesType), name)
		v = protowire.AppendTag(v, valueSimple, protowire.Fixed32Type)
		v = protowire.AppendFixed32(v, math.Float32bits(float32(values[name])))
		summary = protowire.AppendTag(summary, summaryValue, protowire.BytesType)
		summary = protowire.AppendBytes(summary, v)
	}
	e := protowire.AppendTag(event(now, step), eventSummary, protowire.BytesType)
	return appendRecord(to, protowire.AppendBytes(e, summary))
}

// rebuildEvents makes TensorBoard's file of the two others. Metrics have the
// time of the timing of their step, or the last before it.
func rebuildEvents(dir string) error {
	timing, err := ReadTiming(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	metrics, err := ReadMetrics(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	now := float64(time.Now().UnixMilli()) / 1000
	if info, err := os.Stat(filepath.Join(dir, recipeFile)); err == nil {
		now = float64(info.ModTime().UnixMilli()) / 1000
	}
	file := versionRecord(now)
	add := func(t Line) {
		now = t.Values[timeKey]
		delete(t.Values, timeKey)
		file = appendScalars(file, now, t.Step, t.Values)
	}
	for _, m := range metrics {
		for len(timing) > 0 && timing[0].Step <= m.Step {
			add(timing[0])
			timing = timing[1:]
		}
		file = appendScalars(file, now, m.Step, m.Values)
	}
	for _, t := range timing {
		add(t)
	}
	return writeWhole(filepath.Join(dir, eventsFile), file)
}
