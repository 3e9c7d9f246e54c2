package sound

import (
	"bytes"
	"encoding/binary"
)

// FixOggChecksums is data with the right checksum in each page.
func FixOggChecksums(data []byte) []byte {
	data = bytes.Clone(data)
	for rest := data; len(rest) >= oggHeader; {
		size := oggHeader + int(rest[oggHeader-1])
		for _, n := range rest[oggHeader:min(size, len(rest))] {
			size += int(n)
		}
		if size > len(rest) {
			break
		}
		binary.LittleEndian.PutUint32(rest[22:], oggChecksum(rest[:size]))
		rest = rest[size:]
	}
	return data
}

// CheckVorbis is what is looked for in headers before the decoder sees them.
var CheckVorbis = checkVorbis
