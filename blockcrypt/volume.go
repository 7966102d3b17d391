// Package blockcrypt is an encrypted volume over a block device: LUKS2 by
// Sealbay's narrow profile (FORMAT.md), AES-256-XTS, in user space.
//
// A drive opens under a key-encryption key of 32 bytes that the caller
// brings; it is used during the call and not kept. What is not protected: a
// drive that somebody can write to and put back (XTS has no authentication;
// the header has), and the length and place of what was written.
package blockcrypt

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/internal/locked"
	"sealbay/blockcrypt/luks2"
	"sealbay/blockcrypt/xts"
)

// Sizes of the profile, in bytes.
const (
	KEKSize    = luks2.KEKSize
	SectorSize = luks2.SectorSize
	DataOffset = luks2.DataOffset
	MinSize    = luks2.MinSize // of a drive to format
)

// OpenOptions shapes Open. The zero value opens what Sealbay formatted.
type OpenOptions struct {
	// AllowForeignLUKS2 opens what cryptsetup formatted with our cipher and
	// sizes, or edited since: no token, no seal, PBKDF2 of any strength. The
	// key is tried as key-encryption key and as the passphrase itself.
	AllowForeignLUKS2 bool
	// MinGeneration refuses a header older than one that the caller has
	// seen, with ErrRolledBack: somebody put an old one back.
	MinGeneration uint64
	// AllowDiscard passes Discard on to the drive, which then shows which
	// sectors are unused; as dm-crypt's allow_discards.
	AllowDiscard bool
}

// Volume is an open encrypted volume: a blockdev.Device of the plaintext. Its
// methods may be called from any goroutine.
type Volume struct {
	under   blockdev.Device
	info    blockdev.Info
	geo     geometry
	key     *locked.Bytes
	cipher  *xts.Cipher
	summary Summary
	closed  atomic.Bool

	mu   sync.Mutex     // guards sync, and is held for one call of it
	sync *blockdev.Sync // opened by the first ReadAt, WriteAt or Flush
}

var _ blockdev.Device = (*Volume)(nil)

// Open opens the volume on dev under kek. It writes nothing: a drive with one
// torn header copy opens and stays as it is (see Verify and Repair). dev must
// stay open as long as the volume, and is not closed with it.
func Open(dev blockdev.Device, kek []byte, o OpenOptions) (*Volume, error) {
	var v *Volume
	err := withHeader(dev, func(s *blockdev.Sync) error {
		h, key, err := unlock(s, kek, o)
		if err != nil {
			return err
		}
		if v, err = newVolume(dev, h, key, o.AllowDiscard); err != nil {
			key.Close()
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("opening the volume on %s: %w", dev.Info().Path, err)
	}
	return v, nil
}

func newVolume(dev blockdev.Device, h *luks2.Header, key *locked.Bytes, discard bool) (*Volume, error) {
	c, err := xts.New(key.Bytes(), xts.Options{SectorSize: SectorSize, IVStep: SectorSize / 512})
	if err != nil {
		return nil, err
	}
	v := &Volume{under: dev, key: key, cipher: c, summary: *summarize(h)}
	v.geo = makeGeometry(dev.Info(), "volume/"+c.Implementation(), SectorSize, h.DataOffset(), discard)
	v.info = v.geo.info
	return v, nil
}

// Info describes the volume: Size is that of the data, Sector is SectorSize.
func (v *Volume) Info() blockdev.Info { return v.info }

// OpenQueue opens one way to the volume, over a queue of its own to the
// device.
func (v *Volume) OpenQueue(o blockdev.QueueOptions) (blockdev.Queue, error) {
	if v.closed.Load() {
		return nil, fmt.Errorf("opening a queue of %s: %w", v.info.Path, blockdev.ErrClosed)
	}
	return newQueue(v.under, v.cipher, v.geo, o)
}

// Summary says what the header said when the volume was opened, proved by its
// seal unless the header is foreign.
func (v *Volume) Summary() Summary { return v.summary }

// KeyLocked reports whether the volume key's memory could be locked in RAM.
func (v *Volume) KeyLocked() bool { return v.key.Locked() }

// ReadAt reads and decrypts; offset and length are multiples of SectorSize.
func (v *Volume) ReadAt(p []byte, off int64) (n int, err error) {
	err = v.with(func(s *blockdev.Sync) error { n, err = s.ReadAt(p, off); return err })
	return n, err
}

// WriteAt encrypts and writes; offset and length are multiples of SectorSize.
// p is on stable storage after Flush.
func (v *Volume) WriteAt(p []byte, off int64) (n int, err error) {
	err = v.with(func(s *blockdev.Sync) error { n, err = s.WriteAt(p, off); return err })
	return n, err
}

// Flush puts on stable storage what WriteAt wrote.
func (v *Volume) Flush() error { return v.with((*blockdev.Sync).Flush) }

func (v *Volume) with(do func(*blockdev.Sync) error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.sync == nil {
		s, err := blockdev.NewSync(v)
		if err != nil {
			return err
		}
		v.sync = s
	}
	return do(v.sync)
}

// Close wipes the volume key. Queues must be closed first. The device below
// stays open. Closing twice is harmless.
func (v *Volume) Close() error {
	v.closed.Store(true)
	v.mu.Lock()
	defer v.mu.Unlock()
	var err error
	if v.sync != nil {
		err = v.sync.Close()
		v.sync = nil
	}
	v.cipher.Close()
	v.key.Close()
	return err
}

// withHeader runs do with plain access to dev.
func withHeader(dev blockdev.Device, do func(*blockdev.Sync) error) error {
	s, err := blockdev.NewSync(dev)
	if err != nil {
		return err
	}
	return errors.Join(do(s), s.Close())
}
