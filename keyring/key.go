package keyring

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// KeySize is the length of a master key in bytes.
const KeySize = 32

// ID is a fingerprint of a key: it tells keys apart in logs and journals and
// says nothing about their bytes.
type ID [8]byte

// idDomain keeps the fingerprint apart from every other hash of a key. It
// fills one block of SHA-256, so that the key starts a block of its own.
const idDomain = "sealbay/keyring/master-key/fingerprint/v1\x00......................"

// MakeID returns the fingerprint of key, which has KeySize bytes: the first of
// SHA-256 over idDomain and key.
//
// The hash is only ever given whole blocks, the last one padded here (FIPS
// 180-4 5.1.1), and its state is the result. What is less than a block it
// would keep in itself, and Sum works on a copy of it on the stack, which
// nobody could wipe.
func MakeID(key []byte) (id ID) {
	last := append(make([]byte, 0, sha256.BlockSize), key[:KeySize]...)
	defer clear(last)
	last = append(last, 0x80)[:sha256.BlockSize]
	binary.BigEndian.PutUint64(last[sha256.BlockSize-8:], 8*uint64(len(idDomain)+KeySize))

	// Not sha256.New: the compiler knows its type, and would put last on the
	// stack, which is copied when it grows.
	h := crypto.SHA256.New()
	h.Write([]byte(idDomain))
	h.Write(last)
	state, err := h.(encoding.BinaryAppender).AppendBinary(make([]byte, 0, len(stateMagic)+sha256.Size+sha256.BlockSize+8))
	if err != nil || string(state[:len(stateMagic)]) != stateMagic {
		panic(fmt.Sprintf("keyring: the state of a hash is not that of SHA-256: %v", err)) // documented to be there and to stay
	}
	copy(id[:], state[len(stateMagic):])
	return id
}

// stateMagic stands before the eight words of a SHA-256 that was encoded.
const stateMagic = "sha\x03"

// String returns 16 hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText returns String.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *ID) UnmarshalText(text []byte) error {
	raw, err := hex.DecodeString(string(text))
	if err != nil || len(raw) != len(id) {
		return fmt.Errorf("key fingerprint %q: want %d hexadecimal digits", text, 2*len(id))
	}
	copy(id[:], raw)
	return nil
}

// MasterKey is a key-encryption key of 32 bytes. The bytes stand in a Buffer
// and are wiped by Close, or when the value is collected unclosed. Whatever
// prints, logs or encodes the value gets its ID.
//
// What this does not cover: copies that Go code makes while it computes. The
// TLS and KMIP layers decode a key on the Go heap (package kmip overwrites the
// buffers that it can reach and says which it cannot), HMAC leaves expanded
// state on goroutine stacks, and the garbage collector does not zero what it
// frees. Such copies never reach a drive, since the node has no swap
// and no core files, but root on the running node can find them.
type MasterKey struct {
	id ID
	// A function, since reflection (fmt on unexported fields, dump and encoding
	// packages, reflect.DeepEqual) cannot follow one to the bytes. It also
	// makes the type not comparable.
	vault func() *vault
}

type vault struct {
	mu  sync.RWMutex // guards buf; held for reading while the key is in use
	buf *Buffer      // nil after Close
}

// NewMasterKey moves raw into locked memory: raw is wiped, also on error.
func NewMasterKey(raw []byte) (*MasterKey, error) {
	defer clear(raw)
	if len(raw) != KeySize {
		return nil, fmt.Errorf("%w: key is %d bits, need %d", ErrKeyLength, 8*len(raw), 8*KeySize)
	}
	return newMasterKey(func(b []byte) error { copy(b, raw); return nil })
}

// GenerateMasterKey makes a key from the kernel's random generator.
func GenerateMasterKey() (*MasterKey, error) {
	return newMasterKey(func(b []byte) error { _, err := rand.Read(b); return err })
}

func newMasterKey(fill func([]byte) error) (*MasterKey, error) {
	buf, err := NewBuffer(KeySize)
	if err != nil {
		return nil, err
	}
	if err := fill(buf.Bytes()); err != nil {
		return nil, errors.Join(err, buf.Close())
	}
	v := &vault{buf: buf}
	k := &MasterKey{id: MakeID(buf.Bytes()), vault: func() *vault { return v }}
	runtime.AddCleanup(k, func(v *vault) { _ = v.close() }, v) // nobody is left to tell
	return k, nil
}

// ID returns the key's fingerprint.
func (k *MasterKey) ID() ID { return k.id }

// Use calls fn with the key's bytes, which fn must neither keep, change nor
// copy to memory that is not wiped. fn must not call Close. It returns fn's
// error, or ErrClosed.
func (k *MasterKey) Use(fn func(key []byte) error) error {
	defer runtime.KeepAlive(k)
	v := k.vault()
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.buf == nil {
		return fmt.Errorf("master key %s: %w", k.id, ErrClosed)
	}
	return fn(v.buf.Bytes())
}

// Equal reports in constant time whether both hold the same bytes. A closed
// key equals none.
func (k *MasterKey) Equal(other *MasterKey) bool {
	// Through a copy, so that two keys are never held at once: two comparisons
	// and two Closes the other way round would wait for each other for ever.
	mine, err := NewBuffer(KeySize)
	if err != nil {
		return false
	}
	defer mine.Close()
	if k.Use(func(b []byte) error { copy(mine.Bytes(), b); return nil }) != nil {
		return false
	}
	equal := 0
	err = other.Use(func(b []byte) error {
		equal = subtle.ConstantTimeCompare(mine.Bytes(), b)
		return nil
	})
	return err == nil && equal == 1
}

// Close wipes the key. It waits for calls of Use to return; a second Close
// does nothing.
func (k *MasterKey) Close() error { return k.vault().close() }

func (v *vault) close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.buf == nil {
		return nil
	}
	err := v.buf.Close()
	v.buf = nil
	return err
}

// String returns "master key 0123456789abcdef", the fingerprint.
func (k MasterKey) String() string { return "master key " + k.id.String() }

// Format prints String whatever the verb and flags.
func (k MasterKey) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(k.String())) }

// MarshalText returns String, for JSON, XML and the like.
func (k MasterKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// MarshalBinary returns String, for gob and the like.
func (k MasterKey) MarshalBinary() ([]byte, error) { return k.MarshalText() }

// LogValue returns String.
func (k MasterKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Buffer is zeroed memory for secrets outside the Go heap: whole pages, locked
// (mlock(2)), left out of core files (MADV_DONTDUMP) and not inherited by
// children (MADV_DONTFORK), wiped by Close.
type Buffer struct {
	mem []byte
	n   int
}

// NewBuffer maps n bytes. It fails where memory cannot be locked; the limit is
// RLIMIT_MEMLOCK, from which root is exempt.
func NewBuffer(n int) (*Buffer, error) {
	page := unix.Getpagesize()
	size := max((n+page-1)/page*page, page)
	mem, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("mapping %d bytes for a secret: %w", size, err)
	}
	if err := protect(mem); err != nil {
		return nil, errors.Join(err, unix.Munmap(mem))
	}
	return &Buffer{mem: mem, n: n}, nil
}

func protect(mem []byte) error {
	if err := unix.Mlock(mem); err != nil {
		return fmt.Errorf("locking %d bytes of memory for a secret (see ulimit -l): %w", len(mem), err)
	}
	if err := unix.Madvise(mem, unix.MADV_DONTDUMP); err != nil {
		return fmt.Errorf("keeping a secret out of core files: %w", err)
	}
	if err := unix.Madvise(mem, unix.MADV_DONTFORK); err != nil {
		return fmt.Errorf("keeping a secret from child processes: %w", err)
	}
	return nil
}

// Bytes returns the memory, nil after Close.
func (b *Buffer) Bytes() []byte {
	if b.mem == nil {
		return nil
	}
	return b.mem[:b.n:b.n]
}

// Close wipes and unmaps the memory: a slice of it that someone kept faults.
// A second Close does nothing.
func (b *Buffer) Close() error {
	if b.mem == nil {
		return nil
	}
	clear(b.mem)
	mem := b.mem
	b.mem = nil
	return unix.Munmap(mem)
}
