package bundle

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"

	"github.com/minio/sio"
	"golang.org/x/crypto/argon2"

	"sealbay/keyring"
)

// Cost is what argon2id is to cost (RFC 9106 3.1).
type Cost struct {
	Time      uint32 // passes
	MemoryKiB uint32
	Threads   uint32
}

// DefaultCost takes about half a second on two cores, and 256 MiB: above the
// second recommended set of RFC 9106 4, and possible on the smallest node.
var DefaultCost = Cost{Time: 3, MemoryKiB: 256 << 10, Threads: 4}

func (c Cost) check() error {
	if c.Time < 1 || c.Time > 64 || c.Threads < 1 || c.Threads > 64 || c.MemoryKiB < 8*c.Threads || c.MemoryKiB > 4<<20 {
		return fmt.Errorf("argon2id with %d passes, %d KiB and %d threads", c.Time, c.MemoryKiB, c.Threads)
	}
	return nil
}

// Limits of a secret, in bytes.
const (
	MinPassphrase = 12
	MinKeyFile    = 32
	MaxKeyFile    = 64 << 10
)

// Secret opens a bundle. Its bytes stand in locked memory until Close.
type Secret struct {
	kind kind
	cost Cost
	buf  *keyring.Buffer
}

// Passphrase takes a passphrase, which it wipes, without the newline that an
// editor or echo(1) put behind it. cost is for writing; the zero value means
// DefaultCost.
func Passphrase(pass []byte, cost Cost) (*Secret, error) {
	defer clear(pass)
	if cost == (Cost{}) {
		cost = DefaultCost
	}
	if err := cost.check(); err != nil {
		return nil, err
	}
	trimmed := bytes.TrimRight(pass, "\r\n")
	if len(trimmed) < MinPassphrase {
		return nil, fmt.Errorf("the passphrase has %d bytes, want at least %d: everything on the drives depends on it", len(trimmed), MinPassphrase)
	}
	return newSecret(passphrase, cost, trimmed)
}

// KeyFile takes the content of a key file, which it wipes: random bytes, as
// from `head -c 32 /dev/urandom`.
func KeyFile(content []byte) (*Secret, error) {
	defer clear(content)
	if len(content) < MinKeyFile || len(content) > MaxKeyFile {
		return nil, fmt.Errorf("the key file has %d bytes, want %d to %d random ones; make one with: head -c 32 /dev/urandom", len(content), MinKeyFile, MaxKeyFile)
	}
	return newSecret(keyFile, Cost{}, content)
}

func newSecret(k kind, cost Cost, content []byte) (*Secret, error) {
	buf, err := keyring.NewBuffer(len(content))
	if err != nil {
		return nil, err
	}
	copy(buf.Bytes(), content)
	return &Secret{k, cost, buf}, nil
}

// Close wipes the secret.
func (s *Secret) Close() error { return s.buf.Close() }

// String says what sort of secret it is.
func (s *Secret) String() string { return s.kind.String() }

// GoString is String.
func (s *Secret) GoString() string { return s.String() }

// keys are those of one bundle: 32 bytes for the HMAC, 32 for the stream.
type keys struct{ buf *keyring.Buffer }

// keys derives the keys for a header, at the cost that it names.
func (s *Secret) keys(h *header) (*keys, error) {
	if h.kind != s.kind {
		return nil, fmt.Errorf("%w: it was sealed with a %v, not with a %v", ErrWrongSecret, h.kind, s.kind)
	}
	if s.buf.Bytes() == nil {
		return nil, fmt.Errorf("the %v: %w", s.kind, keyring.ErrClosed)
	}
	secret := s.buf.Bytes()
	if s.kind == passphrase {
		secret = argon2.IDKey(secret, h.salt[:], h.cost.Time, h.cost.MemoryKiB, uint8(h.cost.Threads), 32)
		defer clear(secret)
	}
	okm, err := hkdf.Key(sha256.New, secret, h.salt[:], "sealbay/bundle/v1\x00"+string(h.bound()), 64)
	if err != nil {
		return nil, err
	}
	defer clear(okm)
	buf, err := keyring.NewBuffer(64)
	if err != nil {
		return nil, err
	}
	copy(buf.Bytes(), okm)
	return &keys{buf}, nil
}

func (k *keys) tag(b []byte) []byte {
	m := hmac.New(sha256.New, k.buf.Bytes()[:32])
	m.Write(b)
	return m.Sum(nil)
}

func (k *keys) stream() sio.Config {
	return sio.Config{MinVersion: sio.Version20, MaxVersion: sio.Version20, CipherSuites: []byte{sio.AES_256_GCM}, Key: k.buf.Bytes()[32:]}
}

func (k *keys) close() { _ = k.buf.Close() } // unmapping a mapping of ours
