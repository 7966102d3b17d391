package blockcrypt

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/luks2"
)

// Erasure is what CryptoErase did.
type Erasure struct {
	UUID   string            // "" if the header could no longer be read
	Before [sha256.Size]byte // of the header area, bytes 0 to DataOffset
	After  [sha256.Size]byte // of the same, as re-read from the drive
}

// CryptoErase makes the data of dev unreadable for ever: it overwrites all of
// the header area, with both header copies and every keyslot, with random bytes
// and then with zeros, flushes after each, reads it back and compares. The
// keyslots go first, so that a power cut leaves a drive that still says what it
// was and can be erased again. A drive without a trace of a LUKS2 header is
// refused with ErrNoHeader.
//
// What a drive keeps of overwritten sectors out of reach (spare blocks of
// flash, remapped sectors) is beyond this; it holds single parts of
// anti-forensic stripes at most.
func CryptoErase(dev blockdev.Device) (*Erasure, error) {
	var e *Erasure
	err := change(dev, "erasing the keys", func(s *blockdev.Sync) (err error) {
		e, err = erase(s)
		return err
	})
	return e, err
}

func erase(s *blockdev.Sync) (*Erasure, error) {
	area, err := headerArea(s)
	if err != nil {
		return nil, err
	}
	cs, err := luks2.ReadCopies(s)
	if err != nil {
		return nil, err
	}
	e := &Erasure{Before: sha256.Sum256(area)}
	switch h, err := cs.Best(); {
	case err == nil:
		e.UUID = h.UUID()
	case errors.Is(err, ErrNoHeader):
		return nil, err
	}
	for _, fill := range []func([]byte){func(b []byte) { rand.Read(b) }, func(b []byte) { clear(b) }} {
		if err := overwrite(s, area, fill); err != nil {
			return nil, err
		}
	}
	back, err := headerArea(s)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(back, area) {
		return nil, errors.New("the drive did not keep what was written over the keys: destroy it physically")
	}
	e.After = sha256.Sum256(back)
	return e, nil
}

// overwrite fills the keyslots, then the header copies, each flushed.
func overwrite(s *blockdev.Sync, area []byte, fill func([]byte)) error {
	fill(area)
	for _, part := range [][2]int{{2 * luks2.HeaderSize, len(area)}, {0, 2 * luks2.HeaderSize}} {
		if _, err := s.WriteAt(area[part[0]:part[1]], int64(part[0])); err != nil {
			return err
		}
		if err := s.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func headerArea(s *blockdev.Sync) ([]byte, error) {
	if s.Size() < DataOffset {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooSmall, s.Size())
	}
	b := make([]byte, DataOffset)
	_, err := s.ReadAt(b, 0)
	return b, err
}
