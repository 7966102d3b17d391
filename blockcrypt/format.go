package blockcrypt

import (
	"fmt"

	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/luks2"
)

// FormatOptions shapes Format. Key must be filled in.
type FormatOptions struct {
	UUID  string  // 36 characters, lower case; "" draws one
	Label string  // at most 47 characters of printable ASCII
	Key   KeyInfo // which key the caller's kek is
	// Force formats a drive that holds data, which is lost: the header area
	// and the last MiB, where other formats keep their copies, are zeroed
	// first.
	Force bool
}

// Format makes an empty volume on dev with one keyslot for kek. A drive that
// holds anything is refused with ErrForeignData and what was found, unless
// Force is set. Power cut short, the drive is as before, still blank (with
// Force also: blanked), or opens under kek (FORMAT.md 7.1).
func Format(dev blockdev.Device, kek []byte, o FormatOptions) (*Summary, error) {
	info := dev.Info()
	if err := formattable(info); err != nil {
		return nil, fmt.Errorf("formatting %s: %w", info.Path, err)
	}
	err := withHeader(dev, func(s *blockdev.Sync) error {
		c := luks2.CreateOptions{UUID: o.UUID, Label: o.Label, Key: o.Key}
		if err := c.Fill(kek); err != nil { // before anything is overwritten
			return err
		}
		if err := makeRoom(s, o.Force); err != nil {
			return err
		}
		return luks2.Create(s, kek, c)
	})
	if err != nil {
		return nil, fmt.Errorf("formatting %s: %w", info.Path, err)
	}
	if err := Verify(dev, kek); err != nil {
		return nil, err
	}
	return Inspect(dev)
}

func formattable(info blockdev.Info) error {
	switch {
	case info.ReadOnly:
		return ErrReadOnly
	case info.Sector > SectorSize:
		return fmt.Errorf("%w: the drive's sectors have %d bytes", ErrUnaligned, info.Sector)
	case info.Size < MinSize:
		return fmt.Errorf("%w: %d bytes, want at least %d", ErrTooSmall, info.Size, MinSize)
	case info.Size%SectorSize != 0:
		return fmt.Errorf("%w: size %d is not a multiple of %d", ErrUnaligned, info.Size, SectorSize)
	}
	return nil
}

func makeRoom(s *blockdev.Sync, force bool) error {
	what, err := findData(s)
	if err != nil || what == "" {
		return err
	}
	if !force {
		return fmt.Errorf("%w: %s", ErrForeignData, what)
	}
	return blank(s)
}

// tailSize is how much of a drive's end is blanked and searched: the backup
// of a partition table, the labels of ZFS and MD lie there.
const tailSize = 1 << 20

// blank zeroes what can name a drive's former content.
func blank(s *blockdev.Sync) error {
	if err := zero(s, 0, DataOffset); err != nil {
		return err
	}
	if err := zero(s, s.Size()-tailSize, tailSize); err != nil {
		return err
	}
	return s.Flush()
}

func zero(s *blockdev.Sync, off, n int64) error {
	zeros := make([]byte, min(n, 1<<20))
	for ; n > 0; n -= int64(len(zeros)) {
		zeros = zeros[:min(n, int64(len(zeros)))]
		if _, err := s.WriteAt(zeros, off); err != nil {
			return err
		}
		off += int64(len(zeros))
	}
	return nil
}
