package blockcrypt

import (
	"errors"
	"fmt"

	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/internal/locked"
	"sealbay/blockcrypt/luks2"
)

// Stores that a key may come from.
const (
	StoreLocal = luks2.StoreLocal
	StoreKMS   = luks2.StoreKMS
)

// KeyInfo says in the header which key-encryption key a keyslot opens with:
// Epoch, Store, KMIPKeyID.
type KeyInfo = luks2.KeyInfo

// CopyInfo is the state of one header copy.
type CopyInfo = luks2.CopyState

// Slot is a keyslot: where its material lies and which key opens it.
type Slot = luks2.Slot

// Summary says what a header says.
type Summary struct {
	UUID       string
	Label      string
	Generation uint64 // grows with every change of the header (LUKS2's sequence number)
	DataOffset int64  // bytes
	Slots      []Slot // the newest key first
	Copies     [2]CopyInfo
	Foreign    error // nil, or how the header differs from Sealbay's profile
}

// Key returns the newest key's description.
func (s *Summary) Key() KeyInfo { return s.Slots[0].Key }

// Degraded returns an ErrDegraded that names the bad header copy, or nil.
func (s *Summary) Degraded() error { return luks2.Degraded(s.Copies) }

func summarize(h *luks2.Header) *Summary {
	return &Summary{
		UUID: h.UUID(), Label: h.Label(), Generation: h.SeqID(), DataOffset: h.DataOffset(),
		Slots: h.Slots(), Copies: h.Copies(),
	}
}

// Inspect reads the header of dev without a key. Nothing of what it returns
// is proved: whoever can write to the drive can have written it. A header that
// cryptsetup wrote with our cipher and sizes is described with Foreign set.
func Inspect(dev blockdev.Device) (*Summary, error) {
	var sum *Summary
	err := withHeader(dev, func(s *blockdev.Sync) error {
		h, strict := luks2.Load(s, false)
		if strict == nil {
			sum = summarize(h)
			return nil
		}
		if !errors.Is(strict, ErrNotSealbay) {
			return tooSmall(s, strict)
		}
		h, err := luks2.Load(s, true)
		if err != nil {
			return strict
		}
		sum = summarize(h)
		sum.Foreign = strict
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the header of %s: %w", dev.Info().Path, err)
	}
	return sum, nil
}

// tooSmall turns the lack of a header on a drive that could hold none into
// the better reason.
func tooSmall(s *blockdev.Sync, err error) error {
	if errors.Is(err, ErrNoHeader) && s.Size() < MinSize {
		return fmt.Errorf("%w: %d bytes, want at least %d", ErrTooSmall, s.Size(), MinSize)
	}
	return err
}

// unlock loads the header and opens it under kek.
func unlock(s *blockdev.Sync, kek []byte, o OpenOptions) (*luks2.Header, *locked.Bytes, error) {
	h, err := luks2.Load(s, o.AllowForeignLUKS2)
	if err != nil {
		return nil, nil, tooSmall(s, err)
	}
	if h.SeqID() < o.MinGeneration {
		return nil, nil, fmt.Errorf("%w: generation %d, seen: %d", ErrRolledBack, h.SeqID(), o.MinGeneration)
	}
	secret, err := luks2.SlotSecret(kek, h.UUID())
	if err != nil {
		return nil, nil, err
	}
	defer clear(secret)
	key, err := h.Unlock(s, secret)
	if errors.Is(err, ErrWrongKey) && o.AllowForeignLUKS2 {
		key, err = h.Unlock(s, kek)
	}
	return h, key, err
}
