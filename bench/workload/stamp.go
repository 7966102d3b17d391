package workload

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Tag says who wrote a block: which mode in which round, and at which step of
// it. It differs between any two sections of a run that write.
type Tag struct {
	Mode  uint8
	Step  uint8
	Round uint16
}

func (t Tag) pack() uint32 { return uint32(t.Mode)<<24 | uint32(t.Step)<<16 | uint32(t.Round) }

func unpack(v uint32) Tag {
	return Tag{Mode: uint8(v >> 24), Step: uint8(v >> 16), Round: uint16(v)}
}

// String returns the tag as errors print it.
func (t Tag) String() string {
	return fmt.Sprintf("mode %d, step %d, round %d", t.Mode, t.Step, t.Round)
}

// A stamp stands at the head of every unit of data that the bench writes:
// run, offset in the region, operation, and tag with the place of the unit's
// body in the pool, each 8 bytes little endian. The rest of the unit is
// random bytes from the pool. A unit that reads back right was therefore
// written by this run, to this place, by this mode, last; and is whole.
const stampSize = 32

// putStamp stamps one unit.
func putStamp(unit []byte, run uint64, offset int64, op uint64, tag Tag, body uint32) {
	_ = unit[stampSize-1]
	binary.LittleEndian.PutUint64(unit[0:], run)
	binary.LittleEndian.PutUint64(unit[8:], uint64(offset))
	binary.LittleEndian.PutUint64(unit[16:], op)
	binary.LittleEndian.PutUint64(unit[24:], uint64(tag.pack())<<32|uint64(body))
}

// stampOK reports whether a unit carries this stamp, wherever its body is from.
func stampOK(unit []byte, run uint64, offset int64, op uint64, tag Tag) bool {
	_ = unit[stampSize-1]
	return binary.LittleEndian.Uint64(unit[0:]) == run &&
		binary.LittleEndian.Uint64(unit[8:]) == uint64(offset) &&
		binary.LittleEndian.Uint64(unit[16:]) == op &&
		binary.LittleEndian.Uint32(unit[28:]) == tag.pack()
}

// bodyOK reports whether the rest of a stamped unit is the body that its stamp
// names.
func bodyOK(unit, pristine []byte) bool {
	at := int64(binary.LittleEndian.Uint32(unit[24:]))
	if at+int64(len(unit)) > int64(len(pristine)) {
		return false
	}
	return bytes.Equal(unit[stampSize:], pristine[at+stampSize:at+int64(len(unit))])
}

// MismatchError is a block that does not hold what its mode wrote there: the
// device lost, moved or garbled data, and no figure of the run may be used.
type MismatchError struct {
	Offset int64  // bytes, in the region
	Want   Tag    // who wrote it
	Found  string // what was there instead
}

// Error says where, what was expected and what was found.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("block at %d of the region does not hold what was written (%s): found %s", e.Offset, e.Want, e.Found)
}

// describe says what stands in a unit that is not as expected.
func describe(unit []byte, run uint64, offset int64, op uint64, tag Tag) string {
	if binary.LittleEndian.Uint64(unit) != run {
		if len(bytes.Trim(unit, "\x00")) == 0 {
			return "zeros"
		}
		return "bytes that this run never wrote"
	}
	was, at := unpack(binary.LittleEndian.Uint32(unit[28:])), int64(binary.LittleEndian.Uint64(unit[8:]))
	switch n := binary.LittleEndian.Uint64(unit[16:]); {
	case at != offset:
		return fmt.Sprintf("the block of offset %d", at)
	case was != tag:
		return "older data (" + was.String() + ")"
	case n != op:
		return fmt.Sprintf("the data of write %d, not of write %d", n, op)
	}
	return "the right stamp over a damaged body"
}
