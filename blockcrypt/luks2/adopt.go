package luks2

import (
	"fmt"
	"slices"

	"sealbay/blockcrypt/internal/locked"
)

// Adopt makes a header ours that cryptsetup formatted at our layout or edited
// since (6.4): it opens it with secret, writes a keyslot for kek, a fresh token
// and seal, and wipes every other keyslot. Order (7.1): keyslot, flush, primary
// copy, flush, secondary copy, flush, all else before the data, flush. It may
// be repeated, and must be where a power cut came before the last flush.
func Adopt(dev Device, secret, kek []byte, info KeyInfo) error {
	if err := info.Check(); err != nil {
		return err
	}
	h, err := Load(dev, true)
	if err != nil {
		return err
	}
	if err := h.adoptable(dev); err != nil {
		return err
	}
	key, err := h.Unlock(dev, secret)
	if err != nil {
		return err
	}
	defer key.Close()
	if err := h.mend(dev); err != nil {
		return err
	}
	m, err := h.adopt(dev, key, kek, info)
	if err != nil {
		return err
	}
	return wipeAround(dev, m.slots[0])
}

func (h *Header) adoptable(dev Device) error {
	if h.meta.offset != DataOffset {
		return &ProfileError{Where: "segments.0.offset", Got: fmt.Sprint(h.meta.offset), Want: fmt.Sprint(DataOffset)}
	}
	if dev.Size()%SectorSize != 0 {
		return &ProfileError{Where: "size of the drive", Got: fmt.Sprint(dev.Size()), Want: "a multiple of 4096"}
	}
	return nil
}

func (h *Header) adopt(dev Device, key *locked.Bytes, kek []byte, info KeyInfo) (*metadata, error) {
	m, err := newMetadata(key.Bytes(), dev.Size(), info)
	if err != nil {
		return nil, err
	}
	if m.slots[0].area, err = h.meta.freeArea(); err != nil {
		return nil, err
	}
	secret, err := SlotSecret(kek, h.UUID())
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	if err := m.slots[0].store(dev, secret, key.Bytes()); err != nil {
		return nil, fmt.Errorf("writing the keyslot: %w", err)
	}
	if err := dev.Flush(); err != nil {
		return nil, err
	}
	e := &editor{dev: dev, h: &Header{fields: h.fields, meta: m}, key: key}
	return m, e.save()
}

// freeArea returns the lowest place of the grid that no keyslot touches.
func (m *metadata) freeArea() (uint64, error) {
	for area := uint64(keyslotsStart); area+areaSize <= keyslotsStart+keyslotsSize; area += areaSize {
		taken := func(k keyslot) bool { return k.area < area+areaSize && area < k.area+k.areaSize }
		if !slices.ContainsFunc(m.slots, taken) {
			return area, nil
		}
	}
	return 0, fmt.Errorf("%w: the keyslots area is full", ErrFull)
}

// wipeAround zeroes all between headers and data but for keyslot k:
// `cryptsetup reencrypt` grows the keyslots area up to the data. What is zeros
// already is left alone.
func wipeAround(dev Device, k keyslot) error {
	end := k.area + k.areaSize
	for _, gap := range [][2]uint64{{keyslotsStart, k.area}, {end, DataOffset}} {
		for off := gap[0]; off < gap[1]; off += areaSize {
			if err := wipe(dev, int64(off), int(min(areaSize, gap[1]-off))); err != nil {
				return fmt.Errorf("wiping the former keyslots: %w", err)
			}
		}
	}
	return dev.Flush()
}

func wipe(dev Device, off int64, n int) error {
	b := make([]byte, n)
	if _, err := dev.ReadAt(b, off); err != nil || isZero(b) {
		return err
	}
	clear(b)
	_, err := dev.WriteAt(b, off)
	return err
}
