package tokenizer

import (
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// FromModel reads a SentencePiece model: the serialised ModelProto of
// sentencepiece_model.proto that is called tokenizer.model. It must be a BPE
// model without normalisation, as Gemma's are. The data is not needed
// afterwards.
//
// A ModelProto does not say whether BOS is put before a text; Gemma's is.
func FromModel(data []byte) (*Tokenizer, error) {
	a, err := readModel(data)
	if err != nil {
		return nil, fmt.Errorf("sentencepiece model: %w", err)
	}
	t, err := a.finish()
	if err != nil {
		return nil, fmt.Errorf("sentencepiece model: %w", err)
	}
	return t, nil
}

// field is one decoded field of a protobuf message: num is set for varints and
// fixed32, data for length-delimited fields.
type field struct {
	number protowire.Number
	num    uint64
	data   []byte
}

// eachField calls f for the fields of a message, which starts at base in the
// file. Groups and 64-bit fields, which ModelProto has none of, are skipped.
func eachField(message []byte, base int, f func(x field, base int) error) error {
	for at := 0; at < len(message); {
		number, typ, n := protowire.ConsumeTag(message[at:])
		if n < 0 {
			return fmt.Errorf("offset %d: bad tag: %w", base+at, protowire.ParseError(n))
		}
		at += n
		x, n := consumeField(message[at:], number, typ)
		if n < 0 {
			return fmt.Errorf("offset %d: bad field %d: %w", base+at, number, protowire.ParseError(n))
		}
		at += n
		if err := f(x, base+at-len(x.data)); err != nil {
			return err
		}
	}
	return nil
}

func consumeField(b []byte, number protowire.Number, typ protowire.Type) (field, int) {
	switch typ {
	case protowire.VarintType:
		v, n := protowire.ConsumeVarint(b)
		return field{number: number, num: v}, n
	case protowire.Fixed32Type:
		v, n := protowire.ConsumeFixed32(b)
		return field{number: number, num: uint64(v)}, n
	case protowire.BytesType:
		v, n := protowire.ConsumeBytes(b)
		return field{number: number, data: v}, n
	}
	// Number 0 is no field's, so the value is passed over.
	return field{}, protowire.ConsumeFieldValue(number, typ, b)
}

// modelSpec is what is read of TrainerSpec and NormalizerSpec, with the
// defaults that the proto file gives.
type modelSpec struct {
	modelType          uint64
	whitespaceAsSuffix bool
	bos, eos           int64
	normaliserMap      []byte
	spacePrefix        bool
	removeExtraSpaces  bool
	escapeWhitespaces  bool
}

// readModel collects the pieces and settings of a ModelProto.
func readModel(data []byte) (*assembler, error) {
	// A piece takes at least 8 bytes in the file, 17.9 in Gemma's.
	a := newAssembler(len(data) / 16)
	spec := modelSpec{modelType: 1, bos: 1, eos: 2, spacePrefix: true, removeExtraSpaces: true, escapeWhitespaces: true}
	err := eachField(data, 0, func(x field, base int) error {
		switch x.number {
		case 1:
			return a.addModelPiece(x.data, base)
		case 2:
			return spec.readTrainer(x.data, base)
		case 3:
			return spec.readNormaliser(x.data, base)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := spec.check(); err != nil {
		return nil, err
	}
	a.spacePrefix = spec.spacePrefix
	return a, a.setMarkers(spec.bos, spec.eos)
}

// addModelPiece reads a SentencePiece message.
func (a *assembler) addModelPiece(message []byte, base int) error {
	var piece []byte
	var score float32
	k := uint64(normal)
	err := eachField(message, base, func(x field, _ int) error {
		switch x.number {
		case 1:
			piece = x.data
		case 2:
			score = math.Float32frombits(uint32(x.num))
		case 3:
			k = x.num
		}
		return nil
	})
	if err != nil {
		return err
	}
	if k > 255 || kind(k) == unused {
		return fmt.Errorf("offset %d: piece %d has the type %d, which Gemma's vocabularies do not use", base, a.len(), k)
	}
	a.scores = append(a.scores, score)
	if err := a.add(piece, kind(k)); err != nil {
		return fmt.Errorf("offset %d: %w", base, err)
	}
	return nil
}

func (s *modelSpec) readTrainer(message []byte, base int) error {
	return eachField(message, base, func(x field, _ int) error {
		switch x.number {
		case 3:
			s.modelType = x.num
		case 24:
			s.whitespaceAsSuffix = x.num != 0
		case 41:
			s.bos = int64(int32(x.num))
		case 42:
			s.eos = int64(int32(x.num))
		}
		return nil
	})
}

func (s *modelSpec) readNormaliser(message []byte, base int) error {
	return eachField(message, base, func(x field, _ int) error {
		switch x.number {
		case 2:
			s.normaliserMap = x.data
		case 3:
			s.spacePrefix = x.num != 0
		case 4:
			s.removeExtraSpaces = x.num != 0
		case 5:
			s.escapeWhitespaces = x.num != 0
		}
		return nil
	})
}

// check refuses what Gemma's tokenizers do not do.
func (s *modelSpec) check() error {
	const bpe = 2
	switch {
	case s.modelType != bpe:
		return fmt.Errorf("trainer_spec.model_type is %d, only BPE (2) is supported", s.modelType)
	case s.whitespaceAsSuffix:
		return fmt.Errorf("trainer_spec.treat_whitespace_as_suffix is set, which is not supported")
	case len(s.normaliserMap) > 0:
		return fmt.Errorf("normalizer_spec has a character map, only the identity is supported")
	case s.removeExtraSpaces:
		return fmt.Errorf("normalizer_spec.remove_extra_whitespaces is set, which is not supported")
	case !s.escapeWhitespaces:
		return fmt.Errorf("normalizer_spec.escape_whitespaces is off, which is not supported")
	}
	return nil
}
