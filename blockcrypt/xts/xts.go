// Package xts is AES-XTS (IEEE 1619-2007, NIST SP 800-38E) over many sectors
// a call: the cipher that LUKS2 and dm-crypt name "aes-xts-plain64".
//
// # What XTS does and does not protect
//
// XTS keeps the length of what it encrypts: there is no room for an
// authentication tag. Whoever holds one copy of the drive, lost or thrown
// away, learns nothing of what is stored but which sectors were never
// written. Whoever can look at the drive more than once sees which 16-byte
// blocks changed in between, and can put an old block back in its place.
// Whoever can write to it can turn any 16-byte block into noise that is not
// noticed. XTS must therefore not be used over a network or as a replacement
// for authenticated encryption, and a sector number must not be used for two
// sectors under one key.
//
// # Sector numbers
//
// Sector n of a buffer is encrypted under the tweak iv + n*IVStep (modulo
// 2^64), little-endian, zero-extended to 16 bytes: the rule that dm-crypt
// calls plain64. See Options.
//
// # Implementations
//
// The best implementation that the processor and the operating system offer
// is chosen at run time; see Implementations. All but "generic" run in
// constant time: no branch and no address depends on key or data. "generic"
// is as constant-time as crypto/aes, which uses tables where the processor
// has no AES instructions or under the build tag purego.
//
// Close wipes the round keys, and a kernel leaves none in a register. A signal
// that arrives while a kernel runs makes the system save the registers, round
// keys included, on the thread's signal stack, where they stay until the next
// signal overwrites them: within reach of root on the running machine, never
// of a drive.
package xts

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"unsafe"
)

// BlockSize is the block size of AES in bytes. Every sector is a multiple.
const BlockSize = 16

// MaxSectorSize is the largest sector in bytes: 2^20 blocks, the most that
// SP 800-38E allows under one tweak.
const MaxSectorSize = BlockSize << 20

// Errors of New and NewImpl. They are wrapped with the facts.
var (
	// ErrKeySize: the key is neither 32 nor 64 bytes long.
	ErrKeySize = errors.New("key must be 32 or 64 bytes long")
	// ErrEqualKeys: data key and tweak key are the same, which the
	// implementation guidance of FIPS 140 (IG A.9) forbids.
	ErrEqualKeys = errors.New("the two halves of the key are equal")
	// ErrSectorSize: the sector size is not a positive multiple of 16 of at
	// most MaxSectorSize bytes.
	ErrSectorSize = errors.New("invalid sector size")
	// ErrImpl: no such implementation, or not on this processor.
	ErrImpl = errors.New("no such implementation here")
)

// Options shapes a Cipher.
type Options struct {
	// SectorSize is the size of a sector in bytes, a positive multiple of 16.
	SectorSize int
	// IVStep is how much the 64-bit IV grows from sector to sector. dm-crypt's
	// plain64 counts units of 512 bytes whatever the sector size, unless the
	// volume has the flag iv_large_sectors: sector n of 4096 bytes has IV 8n
	// and IVStep is 8. 0 means that rule: SectorSize/512, but at least 1.
	IVStep uint64
}

func (o Options) validate() error {
	if o.SectorSize <= 0 || o.SectorSize%BlockSize != 0 || o.SectorSize > MaxSectorSize {
		return fmt.Errorf("xts: sector of %d bytes: %w: want a positive multiple of %d up to %d",
			o.SectorSize, ErrSectorSize, BlockSize, MaxSectorSize)
	}
	return nil
}

func (o Options) step() uint64 {
	if o.IVStep != 0 {
		return o.IVStep
	}
	return max(1, uint64(o.SectorSize/512))
}

// Cipher encrypts and decrypts whole sectors under one key. Encrypt and
// Decrypt may be called from many goroutines at once and allocate nothing.
type Cipher struct {
	name   string
	engine engine // nil after Close
	sector int    // bytes
	step   uint64
}

// New returns a Cipher under key: 32 bytes for AES-128 or 64 bytes for
// AES-256, the data key followed by the tweak key (the order of IEEE 1619,
// LUKS2 and dm-crypt). The key is copied.
//
// The best supported implementation is used, or the one that the environment
// variable SEALBAY_XTS names; a name that is unknown or cannot run here is an
// error.
func New(key []byte, o Options) (*Cipher, error) {
	im, err := choose()
	if err != nil {
		return nil, err
	}
	return newCipher(im, key, o)
}

// NewImpl is New with the implementation of the given name, one of
// Implementations.
func NewImpl(impl string, key []byte, o Options) (*Cipher, error) {
	im, err := find(impl)
	if err != nil {
		return nil, err
	}
	return newCipher(im, key, o)
}

func newCipher(im *implementation, key []byte, o Options) (*Cipher, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if len(key) != 32 && len(key) != 64 {
		return nil, fmt.Errorf("xts: key of %d bytes: %w", len(key), ErrKeySize)
	}
	data, tweak := key[:len(key)/2], key[len(key)/2:]
	if subtle.ConstantTimeCompare(data, tweak) == 1 {
		return nil, fmt.Errorf("xts: %w", ErrEqualKeys)
	}
	e, err := im.expand(data, tweak)
	if err != nil {
		return nil, fmt.Errorf("xts: %s: %w", im.name, err)
	}
	return &Cipher{name: im.name, engine: e, sector: o.SectorSize, step: o.step()}, nil
}

// Encrypt encrypts the sectors of src into dst; the first has the given IV.
// dst and src are equally long, a multiple of the sector size, and either
// start at the same byte or do not overlap. Anything else is a bug of the
// caller and panics, as does a closed Cipher.
func (c *Cipher) Encrypt(dst, src []byte, iv uint64) {
	if n := c.check(dst, src); n > 0 {
		c.engine.encrypt(dst, src, c.sector, n, iv, c.step)
	}
}

// Decrypt is the inverse of Encrypt, under the same rules.
func (c *Cipher) Decrypt(dst, src []byte, iv uint64) {
	if n := c.check(dst, src); n > 0 {
		c.engine.decrypt(dst, src, c.sector, n, iv, c.step)
	}
}

// check returns the number of sectors.
func (c *Cipher) check(dst, src []byte) (n int) {
	if c.engine == nil {
		panic("xts: use of a closed Cipher")
	}
	if len(dst) != len(src) {
		panic("xts: dst and src differ in length")
	}
	n = len(src) / c.sector
	if n*c.sector != len(src) {
		panic("xts: buffer is not a whole number of sectors")
	}
	if overlap(dst, src) {
		panic("xts: dst and src overlap without being the same")
	}
	return n
}

// overlap reports whether two equally long buffers share bytes at different
// positions.
func overlap(dst, src []byte) bool {
	d, s := address(dst), address(src)
	n := uintptr(len(src))
	return d != s && d < s+n && s < d+n
}

func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// SectorSize returns the sector size in bytes.
func (c *Cipher) SectorSize() int { return c.sector }

// IVStep returns how much the IV grows from sector to sector.
func (c *Cipher) IVStep() uint64 { return c.step }

// Implementation returns the name of the implementation in use.
func (c *Cipher) Implementation() string { return c.name }

// Close wipes the key schedules. It must not run at the same time as Encrypt
// or Decrypt, which panic afterwards. Closing twice is harmless.
func (c *Cipher) Close() {
	if c.engine != nil {
		c.engine.wipe()
		c.engine = nil
	}
}
