package target

import (
	"context"
	"errors"
	"fmt"

	"sealbay/blockcrypt"
	"sealbay/blockcrypt/blockdev"
	"sealbay/keyring"
	"sealbay/keyring/durable"
	"sealbay/keyring/local"
)

// formatVolume makes a volume on dev under a random key that nobody keeps.
func formatVolume(dev blockdev.Device) (v *blockcrypt.Volume, err error) {
	key, err := keyring.GenerateMasterKey()
	if err != nil {
		return nil, err
	}
	defer key.Close()
	o := blockcrypt.FormatOptions{
		Label: "sealbench", Key: blockcrypt.KeyInfo{Epoch: 1, Store: blockcrypt.StoreLocal},
		Force: true, // guard has had its say
	}
	err = key.Use(func(kek []byte) error {
		if _, err := blockcrypt.Format(dev, kek, o); err != nil {
			return err
		}
		v, err = blockcrypt.Open(dev, kek, blockcrypt.OpenOptions{})
		return err
	})
	return v, err
}

// openVolume opens the volume that is on dev with the master key in state.
func openVolume(dev blockdev.Device, state string) (v *blockcrypt.Volume, err error) {
	folder, err := durable.Open(state)
	if err != nil {
		return nil, err
	}
	defer folder.Close() // only read
	store := local.New(folder)
	key, _, err := store.Fetch(context.Background())
	if err != nil {
		return nil, fmt.Errorf("master key in %s: %w", state, err)
	}
	defer key.Close()
	err = key.Use(func(kek []byte) error {
		v, err = blockcrypt.Open(dev, kek, blockcrypt.OpenOptions{})
		return err
	})
	if err == nil && v.Summary().DataOffset != DataOffset {
		err = errors.Join(fmt.Errorf("volume on %s: its data start at %d, not at %d",
			dev.Info().Path, v.Summary().DataOffset, int64(DataOffset)), v.Close())
	}
	return v, err
}
