package local

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"sealbay/keyring"
)

// The bytes of master.key, integers big-endian:
//
//	offset  bytes
//	     0      8  magic "SEALBKEY"
//	     8      2  version, 1
//	    10      2  n, number of keys, 1 to 64
//	    12      4  length of the file, 16 + 48 n + 32
//	    16   48 n  the keys:  0   1  role: 1 current, 2 prepared, 3 retained
//	                          1   7  zero
//	                          8   8  time of making, nanoseconds since 1970 UTC
//	                         16  32  the key
//	 16+48n    32  SHA-256 of all that precedes
//
// At most one key is current and at most one is prepared. The checksum finds
// accidents, not attackers: who can write the file owns the node.
const (
	magic      = "SEALBKEY"
	version    = 1
	headSize   = 16
	entrySize  = 48
	sumSize    = sha256.Size
	maxEntries = 64
	maxSize    = headSize + maxEntries*entrySize + sumSize
)

// What can be wrong with the content of a key file. All are keyring.ErrCorrupt.
var (
	ErrNotKeyFile = fmt.Errorf("not a master key file: %w", keyring.ErrCorrupt)
	ErrTruncated  = fmt.Errorf("master key file is truncated: %w", keyring.ErrCorrupt)
	ErrHalf       = fmt.Errorf("master key file was only half written: %w", keyring.ErrCorrupt)
	ErrChecksum   = fmt.Errorf("master key file has a wrong checksum, its bits changed: %w", keyring.ErrCorrupt)
	ErrVersion    = fmt.Errorf("master key file is of another version: %w", keyring.ErrCorrupt)
)

type role byte

const (
	current  role = 1
	prepared role = 2
	retained role = 3
)

// entry is one key of the file. key points into locked memory.
type entry struct {
	role    role
	created time.Time
	key     []byte
}

// encode writes entries into dst, which holds maxSize bytes, and returns the
// file's length. dst and the entries' keys do not overlap.
func encode(dst []byte, entries []entry) int {
	n := headSize + len(entries)*entrySize
	b := append(dst[:0], magic...)
	b = binary.BigEndian.AppendUint16(b, version)
	b = binary.BigEndian.AppendUint16(b, uint16(len(entries)))
	b = binary.BigEndian.AppendUint32(b, uint32(n+sumSize))
	for _, e := range entries {
		b = append(b, byte(e.role), 0, 0, 0, 0, 0, 0, 0)
		b = binary.BigEndian.AppendUint64(b, uint64(e.created.UnixNano()))
		b = append(b, e.key...)
	}
	return len(append(b, checksum(b)...))
}

// decode reads a file. The entries' keys are slices of b.
func decode(b []byte) ([]entry, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrTruncated)
	}
	if !bytes.HasPrefix(b, []byte(magic)) {
		if bytes.HasPrefix([]byte(magic), b) {
			return nil, fmt.Errorf("%w: it has %d bytes", ErrTruncated, len(b))
		}
		return nil, ErrNotKeyFile
	}
	if err := checkFrame(b); err != nil {
		return nil, err
	}
	return decodeEntries(b)
}

// checkFrame checks length, checksum and version, in this order: every version
// has its length at 12 and its checksum at the end.
func checkFrame(b []byte) error {
	if len(b) < headSize+sumSize {
		return fmt.Errorf("%w: it has %d bytes", ErrTruncated, len(b))
	}
	want := int64(binary.BigEndian.Uint32(b[12:]))
	if int64(len(b)) < want && want <= maxSize {
		return fmt.Errorf("%w: it has %d of %d bytes", ErrTruncated, len(b), want)
	}
	sum := b[len(b)-sumSize:]
	if !bytes.Equal(sum, checksum(b[:len(b)-sumSize])) {
		if len(bytes.Trim(sum, "\x00")) == 0 {
			return ErrHalf
		}
		return ErrChecksum
	}
	if v := binary.BigEndian.Uint16(b[8:]); v != version {
		return fmt.Errorf("%w: version %d, this program knows %d", ErrVersion, v, version)
	}
	if n := int(binary.BigEndian.Uint16(b[10:])); int64(len(b)) != want || len(b) != headSize+n*entrySize+sumSize {
		return fmt.Errorf("%w: %d keys do not fill %d bytes", ErrNotKeyFile, n, len(b))
	}
	return nil
}

func decodeEntries(b []byte) ([]entry, error) {
	var all []entry
	count := map[role]int{}
	for off := headSize; off < len(b)-sumSize; off += entrySize {
		e := b[off : off+entrySize]
		r := role(e[0])
		count[r]++
		if r < current || r > retained || !bytes.Equal(e[1:8], make([]byte, 7)) || r != retained && count[r] > 1 {
			return nil, fmt.Errorf("%w: key %d has no usable role", ErrNotKeyFile, len(all))
		}
		created := time.Unix(0, int64(binary.BigEndian.Uint64(e[8:]))).UTC()
		all = append(all, entry{r, created, e[16:entrySize:entrySize]})
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: it holds no key", ErrNotKeyFile)
	}
	return all, nil
}

// checksum hashes b and overwrites what the hash kept of it.
func checksum(b []byte) []byte {
	h := sha256.New()
	h.Write(b)
	sum := h.Sum(nil)
	h.Reset()
	h.Write(make([]byte, sha256.BlockSize-1))
	return sum
}

var errFull = errors.New("master key file is full: drives that were absent during many rotations still need old keys; " +
	"attach them, or give them up with drive_forget")
