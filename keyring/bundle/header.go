package bundle

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/minio/sio"
)

const (
	magic      = "SEALBNDL"
	version    = 1
	saltSize   = 32
	boundSize  = 64 // bytes of the header that the keys are bound to
	sumEnd     = boundSize + sha256.Size
	headerSize = sumEnd + sha256.Size
)

// kind is the sort of secret.
type kind uint16

const (
	passphrase kind = 1
	keyFile    kind = 2
)

func (k kind) String() string {
	if k == keyFile {
		return "key file"
	}
	return "passphrase"
}

type header struct {
	kind   kind
	cost   Cost
	salt   [saltSize]byte
	length int64
	raw    [headerSize]byte // as read
}

func newHeader(s *Secret, plain int64) (*header, error) {
	sealed, err := sio.EncryptedSize(uint64(plain))
	if err != nil {
		return nil, fmt.Errorf("a recovery bundle of %d bytes: %w", plain, err)
	}
	h := &header{kind: s.kind, cost: s.cost, length: headerSize + int64(sealed)}
	_, err = rand.Read(h.salt[:])
	return h, err
}

// bound returns bytes 0 to 63.
func (h *header) bound() []byte {
	b := append(make([]byte, 0, headerSize), magic...)
	b = binary.BigEndian.AppendUint16(b, version)
	b = binary.BigEndian.AppendUint16(b, uint16(h.kind))
	b = binary.BigEndian.AppendUint32(b, h.cost.Time)
	b = binary.BigEndian.AppendUint32(b, h.cost.MemoryKiB)
	b = binary.BigEndian.AppendUint32(b, h.cost.Threads)
	b = append(b, h.salt[:]...)
	return binary.BigEndian.AppendUint64(b, uint64(h.length))
}

func (h *header) seal(k *keys) []byte {
	b := h.bound()
	sum := sha256.Sum256(b)
	b = append(b, sum[:]...)
	return append(b, k.tag(b)...)
}

func (h *header) verify(k *keys) bool { return hmac.Equal(h.raw[sumEnd:], k.tag(h.raw[:sumEnd])) }

func readHeader(r io.Reader) (*header, error) {
	h := new(header)
	n, err := io.ReadFull(r, h.raw[:])
	b := h.raw[:]
	switch {
	case n > 0 && !bytes.HasPrefix(b, []byte(magic)[:min(n, len(magic))]):
		return nil, ErrNotBundle
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%w: it is empty", ErrTruncated)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("%w: it has %d bytes", ErrTruncated, n)
	case err != nil:
		return nil, fmt.Errorf("reading the recovery bundle: %w", err)
	}
	if sum := sha256.Sum256(b[:boundSize]); !bytes.Equal(sum[:], b[boundSize:sumEnd]) {
		return nil, fmt.Errorf("%w (in its header)", ErrDamaged)
	}
	if v := binary.BigEndian.Uint16(b[8:]); v != version {
		return nil, fmt.Errorf("%w: %d, this program knows %d", ErrVersion, v, version)
	}
	h.kind = kind(binary.BigEndian.Uint16(b[10:]))
	h.cost = Cost{binary.BigEndian.Uint32(b[12:]), binary.BigEndian.Uint32(b[16:]), binary.BigEndian.Uint32(b[20:])}
	copy(h.salt[:], b[24:])
	h.length = int64(binary.BigEndian.Uint64(b[56:]))
	return h, h.check()
}

// check refuses a header that no writer makes; a forged one must not have
// argon2id take all memory.
func (h *header) check() error {
	if h.kind != passphrase && h.kind != keyFile || h.length < headerSize {
		return fmt.Errorf("%w: its header makes no sense", ErrDamaged)
	}
	if h.kind == passphrase {
		if err := h.cost.check(); err != nil {
			return fmt.Errorf("%w: its header makes no sense: %w", ErrDamaged, err)
		}
	}
	return nil
}
