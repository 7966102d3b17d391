package blockcrypt

import (
	"errors"
	"fmt"

	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/luks2"
)

// AddKey adds a keyslot for newKEK, described by info, to the volume that kek
// opens, and makes it the newest. Repeating it is harmless.
func AddKey(dev blockdev.Device, kek, newKEK []byte, info KeyInfo) error {
	return change(dev, "adding a key", func(s *blockdev.Sync) error { return luks2.AddKey(s, kek, newKEK, info) })
}

// KillKey destroys the keyslot that old opens; keep must open another. It is
// harmless to repeat, and finishes what a power cut interrupted. Where old
// opens nothing, nothing is done.
func KillKey(dev blockdev.Device, keep, old []byte) error {
	return change(dev, "killing a key", func(s *blockdev.Sync) error { return luks2.KillKey(s, keep, old) })
}

// Repair rewrites a header copy that is damaged or stale from the good one,
// which kek must open. Nothing is written where both are whole.
func Repair(dev blockdev.Device, kek []byte) error {
	return change(dev, "repairing the header", func(s *blockdev.Sync) error { return luks2.Repair(s, kek) })
}

func change(dev blockdev.Device, what string, do func(*blockdev.Sync) error) error {
	err := error(ErrReadOnly)
	if !dev.Info().ReadOnly {
		err = withHeader(dev, do)
	}
	if err != nil {
		return fmt.Errorf("%s on %s: %w", what, dev.Info().Path, err)
	}
	return nil
}

// Verify reads the header anew from the drive and proves that kek opens it
// and that its seal holds. It returns nil, an ErrDegraded if the volume opens
// although one header copy is bad, or the reason why it does not open.
func Verify(dev blockdev.Device, kek []byte) error {
	err := withHeader(dev, func(s *blockdev.Sync) error {
		h, key, err := unlock(s, kek, OpenOptions{})
		if err != nil {
			return err
		}
		key.Close()
		return luks2.Degraded(h.Copies())
	})
	if err != nil {
		return fmt.Errorf("verifying %s: %w", dev.Info().Path, err)
	}
	return nil
}

// RescueKey returns the drive's slot secret after proving that it opens the
// drive: the content of a key file for `cryptsetup open --key-file`. It opens
// this drive only. The caller wipes it.
func RescueKey(dev blockdev.Device, kek []byte) ([]byte, error) {
	var secret []byte
	err := withHeader(dev, func(s *blockdev.Sync) error {
		h, key, err := unlock(s, kek, OpenOptions{})
		if err != nil {
			return err
		}
		key.Close()
		secret, err = luks2.SlotSecret(kek, h.UUID())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("making the rescue key of %s: %w", dev.Info().Path, err)
	}
	return secret, nil
}

// Adopt makes a volume Sealbay's own that cryptsetup formatted with our layout
// or edited since: kek then is its only key, described by info, and the header
// is sealed anew. The volume opens for it under kek as Open tries it with
// AllowForeignLUKS2.
func Adopt(dev blockdev.Device, kek []byte, info KeyInfo) error {
	return change(dev, "adopting the volume", func(s *blockdev.Sync) error {
		h, err := luks2.Load(s, true)
		if err != nil {
			return tooSmall(s, err)
		}
		secret, err := luks2.SlotSecret(kek, h.UUID())
		if err != nil {
			return err
		}
		defer clear(secret)
		if err = luks2.Adopt(s, secret, kek, info); errors.Is(err, ErrWrongKey) {
			err = luks2.Adopt(s, kek, kek, info)
		}
		return err
	})
}
