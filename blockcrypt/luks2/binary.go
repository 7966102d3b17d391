package luks2

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
)

// Offsets of the fields of the binary header, and their sizes (2).
const (
	offMagic     = 0   // 6
	offVersion   = 6   // 2
	offSize      = 8   // 8
	offSeqID     = 16  // 8
	offLabel     = 24  // 48
	offAlgorithm = 72  // 32
	offSalt      = 104 // 64
	offUUID      = 168 // 40
	offSubsystem = 208 // 48
	offPosition  = 256 // 8
	offPadding   = 264 // 184
	offChecksum  = 448 // 64
	offEnd       = 512 // zeros up to binarySize
)

var magics = [2]string{"LUKS\xba\xbe", "SKUL\xba\xbe"}

// fields is what a header copy says apart from magic, salt, position and
// checksum, in which the two copies differ.
type fields struct {
	seqID                  uint64
	label, uuid, subsystem string
	json                   []byte // without the padding
}

// Problems of one copy.
var (
	errNoMagic  = errors.New("no LUKS2 magic")
	errMagic    = errors.New("magic is damaged")
	errChecksum = errors.New("checksum does not match")
)

// encode returns copy i of a header, HeaderSize bytes.
func (f *fields) encode(i int) ([]byte, error) {
	if len(f.json) >= jsonSize {
		return nil, fmt.Errorf("header JSON of %d bytes does not fit into %d", len(f.json), jsonSize-1)
	}
	b := make([]byte, HeaderSize)
	copy(b[offMagic:], magics[i])
	binary.BigEndian.PutUint16(b[offVersion:], 2)
	binary.BigEndian.PutUint64(b[offSize:], HeaderSize)
	binary.BigEndian.PutUint64(b[offSeqID:], f.seqID)
	copy(b[offLabel:offAlgorithm-1], f.label)
	copy(b[offAlgorithm:], hashName)
	rand.Read(b[offSalt:offUUID])
	copy(b[offUUID:offSubsystem-1], f.uuid)
	copy(b[offSubsystem:offPosition-1], f.subsystem)
	binary.BigEndian.PutUint64(b[offPosition:], uint64(i)*HeaderSize)
	copy(b[binarySize:], f.json)
	sum := sha256.Sum256(b)
	copy(b[offChecksum:], sum[:])
	return b, nil
}

// decode reads copy i out of HeaderSize bytes. Its error says what is wrong
// with the copy and never holds bytes of it that were not checked.
func decode(b []byte, i int) (*fields, error) {
	if string(b[:len(magics[i])]) != magics[i] {
		return nil, missing(b)
	}
	if v := binary.BigEndian.Uint16(b[offVersion:]); v == 1 {
		return nil, &ProfileError{Where: "LUKS version", Got: "1", Want: "2"}
	} else if v != 2 {
		return nil, fmt.Errorf("LUKS version %d", v)
	}
	if n := binary.BigEndian.Uint64(b[offSize:]); n != HeaderSize {
		return nil, wrongSize(n)
	}
	if !checksumOK(b) {
		return nil, errChecksum
	}
	if p := binary.BigEndian.Uint64(b[offPosition:]); p != uint64(i)*HeaderSize {
		return nil, fmt.Errorf("says it stands at %d", p)
	}
	return decodeText(b)
}

// missing tells a header whose magic was hit from something that never was
// one: a damaged drive must not pass for a blank one.
func missing(b []byte) error {
	if bytes.HasPrefix(b[offAlgorithm:], []byte(hashName)) && binary.BigEndian.Uint64(b[offSize:]) == HeaderSize {
		return errMagic
	}
	return errNoMagic
}

// wrongSize tells a header of another layout (LUKS2 has nine sizes) from a
// damaged one, whose checksum cannot be computed either way.
func wrongSize(n uint64) error {
	if n > HeaderSize && n <= 4<<20 && n&(n-1) == 0 {
		return &ProfileError{Where: "header size", Got: strconv.FormatUint(n, 10), Want: strconv.Itoa(HeaderSize)}
	}
	return fmt.Errorf("impossible header size %d", n)
}

func checksumOK(b []byte) bool {
	if name, err := text(b[offAlgorithm:offSalt], "checksum algorithm"); err != nil || name != hashName {
		return false
	}
	h := sha256.New()
	h.Write(b[:offChecksum])
	h.Write(make([]byte, offEnd-offChecksum))
	h.Write(b[offEnd:])
	field := b[offChecksum:offEnd]
	return bytes.Equal(h.Sum(nil), field[:sha256.Size]) && isZero(field[sha256.Size:])
}

func decodeText(b []byte) (*fields, error) {
	f := &fields{seqID: binary.BigEndian.Uint64(b[offSeqID:])}
	var errs [4]error
	f.label, errs[0] = text(b[offLabel:offAlgorithm], "label")
	f.uuid, errs[1] = text(b[offUUID:offSubsystem], "UUID")
	f.subsystem, errs[2] = text(b[offSubsystem:offPosition], "subsystem")
	var s string
	s, errs[3] = text(b[binarySize:], "JSON area")
	f.json = []byte(s)
	return f, errors.Join(errs[:]...)
}

// text returns the printable ASCII string in a field that is filled up with
// zeros, of which there is at least one.
func text(field []byte, name string) (string, error) {
	n := bytes.IndexByte(field, 0)
	if n < 0 || len(bytes.Trim(field[n:], "\x00")) != 0 {
		return "", fmt.Errorf("%s is not ended by zeros", name)
	}
	for _, c := range field[:n] {
		if c < ' ' || c > '~' {
			return "", fmt.Errorf("%s holds byte 0x%02x, which is not printable ASCII", name, c)
		}
	}
	return string(field[:n]), nil
}
