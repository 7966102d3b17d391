package blockcrypt

import (
	"fmt"

	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/luks2"
)

// BackupOptions shapes BackupHeader.
type BackupOptions struct {
	// Keyslots includes the keyslots' material. Without it the backup mends
	// a drive whose header copies are both damaged, and is of no use
	// otherwise: a key killed on the drive stays dead. With it the backup
	// opens the drive under every key it had when the backup was taken, for
	// ever: seal it.
	Keyslots bool
}

// BackupHeader returns a copy of the header of dev, in the form of
// cryptsetup's header backups if it has keyslots.
func BackupHeader(dev blockdev.Device, o BackupOptions) ([]byte, error) {
	var b []byte
	err := withHeader(dev, func(s *blockdev.Sync) (err error) {
		b, err = luks2.Backup(s, o.Keyslots)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("backing up the header of %s: %w", dev.Info().Path, err)
	}
	return b, nil
}

// BackupInfo says which drive a backup is of, and of when.
type BackupInfo struct {
	UUID       string
	Generation uint64
	Keyslots   bool
}

// InspectBackup reads a backup. Nothing of what it says is proved.
func InspectBackup(backup []byte) (BackupInfo, error) {
	h, err := luks2.ParseBackup(backup)
	if err != nil {
		return BackupInfo{}, err
	}
	return BackupInfo{UUID: h.UUID(), Generation: h.SeqID(), Keyslots: len(backup) == luks2.BackupSize}, nil
}

// RestoreOptions shapes RestoreHeader.
type RestoreOptions struct {
	// Force restores over a newer header, or that of another drive.
	Force bool
}

// RestoreHeader writes a backup made by BackupHeader back onto dev. Verify
// then says whether the drive opens.
func RestoreHeader(dev blockdev.Device, backup []byte, o RestoreOptions) error {
	return change(dev, "restoring the header", func(s *blockdev.Sync) error { return luks2.Restore(s, backup, o.Force) })
}
