package luks2

import (
	"errors"
	"fmt"
)

// BackupSize is the size of a backup with keyslots: what `cryptsetup
// luksHeaderBackup` writes for this layout.
const BackupSize = keyslotsStart + keyslotsSize

// Errors of Restore.
var (
	// ErrStale: the backup is older than the drive's header.
	ErrStale = errors.New("header backup is older than the drive's header")
	// ErrOtherDrive: the backup is of another drive.
	ErrOtherDrive = errors.New("header backup belongs to another drive")
)

// Backup returns a copy of the header (8). Without keyslots it is HeaderSize
// bytes and of no use to a thief: the material of the keyslots stays on the
// drive only, so that a killed key stays dead. With keyslots it is BackupSize
// bytes, in the form of cryptsetup's header backups, and as secret as the keys
// that opened the drive when it was taken.
func Backup(dev Device, keyslots bool) ([]byte, error) {
	h, err := Load(dev, false)
	if err != nil {
		return nil, err
	}
	primary, err := h.fields.encode(0)
	if err != nil || !keyslots {
		return primary, err
	}
	secondary, err := h.fields.encode(1)
	if err != nil {
		return nil, err
	}
	b := make([]byte, BackupSize)
	copy(b, primary)
	copy(b[HeaderSize:], secondary)
	for _, k := range h.meta.slots {
		if _, err := dev.ReadAt(b[k.area:k.area+areaSize], int64(k.area)); err != nil {
			return nil, fmt.Errorf("reading keyslot %s: %w", k.id, err)
		}
	}
	return b, nil
}

// ParseBackup returns the header in a backup of either form.
func ParseBackup(backup []byte) (*Header, error) {
	if len(backup) != HeaderSize && len(backup) != BackupSize {
		return nil, fmt.Errorf("%w: backup of %d bytes, want %d or %d", ErrCorrupt, len(backup), HeaderSize, BackupSize)
	}
	f, err := decode(backup[:HeaderSize], 0)
	if err != nil {
		return nil, fmt.Errorf("%w: backup: %w", ErrCorrupt, err)
	}
	tree, err := parse(f.json)
	if err != nil {
		return nil, fmt.Errorf("%w: backup: JSON: %w", ErrCorrupt, err)
	}
	m, err := understand(tree, false)
	if err != nil {
		return nil, err
	}
	return &Header{fields: f, tree: tree, meta: m}, nil
}

// Restore writes a backup onto the drive: its keyslots if it has them, flush,
// then both copies in the order of a change. The drive's own header, where it
// can be read, must be of the same UUID and not newer, unless force is set.
func Restore(dev Device, backup []byte, force bool) error {
	h, err := ParseBackup(backup)
	if err != nil {
		return err
	}
	if err := h.checkSize(dev.Size()); err != nil {
		return err
	}
	cs, err := ReadCopies(dev)
	if err != nil {
		return err
	}
	if now, err := cs.Best(); err == nil && !force {
		if err := h.replaces(now); err != nil {
			return err
		}
	}
	if len(backup) == BackupSize {
		if err := h.restoreKeyslots(dev, backup); err != nil {
			return err
		}
	}
	for i := range magics {
		if err := writeCopy(dev, h.fields, i); err != nil {
			return err
		}
	}
	return nil
}

func (h *Header) replaces(now *Header) error {
	if now.fields.uuid != h.fields.uuid {
		return fmt.Errorf("%w: %s, the drive is %s", ErrOtherDrive, h.fields.uuid, now.fields.uuid)
	}
	if now.fields.seqID > h.fields.seqID {
		return fmt.Errorf("%w: generation %d, the drive has %d", ErrStale, h.fields.seqID, now.fields.seqID)
	}
	return nil
}

func (h *Header) restoreKeyslots(dev Device, backup []byte) error {
	for _, k := range h.meta.slots {
		if _, err := dev.WriteAt(backup[k.area:k.area+areaSize], int64(k.area)); err != nil {
			return fmt.Errorf("writing keyslot %s: %w", k.id, err)
		}
	}
	return dev.Flush()
}
