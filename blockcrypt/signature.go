package blockcrypt

import (
	"bytes"
	"fmt"

	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/luks2"
)

// signature is where a format keeps its magic, counted from the start of the
// drive or, if negative, from its end.
type signature struct {
	name   string
	offset int64 // bytes
	magic  string
}

// signatures are what blkid(8) would name first on a server's drives. What is
// not in the list is still found by not being zeros; the list gives it a name.
var signatures = []signature{
	{"a LUKS volume", 0, "LUKS\xba\xbe"},
	{"a GPT partition table", 512, "EFI PART"},
	{"a GPT partition table", 4096, "EFI PART"},
	{"an XFS file system", 0, "XFSB"},
	{"an ext2/3/4 file system", 1080, "\x53\xef"},
	{"a Btrfs file system", 0x10040, "_BHRfS_M"},
	{"an F2FS file system", 1024, "\x10\x20\xf5\xf2"},
	{"an NTFS file system", 3, "NTFS    "},
	{"an exFAT file system", 3, "EXFAT   "},
	{"a FAT file system", 54, "FAT"},
	{"a FAT file system", 82, "FAT32   "},
	{"an ISO 9660 file system", 0x8001, "CD001"},
	{"a SquashFS file system", 0, "hsqs"},
	{"a swap area", 4086, "SWAPSPACE2"},
	{"a bcache device", 4120, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"},
	{"an LVM physical volume", 512, "LABELONE"},
	{"an MD RAID member", 4096, "\xfc\x4e\x2b\xa9"},
	{"an MD RAID member", 0, "\xfc\x4e\x2b\xa9"},
	{"a Ceph BlueStore device", 0, "bluestore block device"},
	{"a BitLocker volume", 3, "-FVE-FS-"},
	{"a ZFS pool member", 128<<10 + 7, "\x00\xba\xb1\x0c"}, // big-endian uberblock
	{"a ZFS pool member", 128 << 10, "\x0c\xb1\xba\x00"},
	{"a GPT partition table", -512, "EFI PART"},
	{"a GPT partition table", -4096, "EFI PART"},
	{"a partition table or boot sector", 510, "\x55\xaa"}, // last: many boot sectors end so
}

// samples is how many single sectors between header area and end are looked
// at: enough to notice data that no signature names, few enough for a hard
// disk (about half a second).
const samples = 64

// findData returns what formatting would destroy, or "" if the drive is blank:
// zeros, but for what an interrupted Format of our own may have left (7.1).
func findData(s *blockdev.Sync) (string, error) {
	sum, err := sealbayHeader(s)
	if err != nil || sum != "" {
		return sum, err
	}
	head := make([]byte, DataOffset)
	if _, err := s.ReadAt(head, 0); err != nil {
		return "", err
	}
	tail := make([]byte, tailSize)
	if _, err := s.ReadAt(tail, s.Size()-tailSize); err != nil {
		return "", err
	}
	if name := named(head, tail); name != "" {
		return name, nil
	}
	clear(luks2.FormatLeftovers(head))
	if off := firstNonZero(head); off >= 0 {
		return fmt.Sprintf("unknown data at byte %d", off), nil
	}
	if off := firstNonZero(tail); off >= 0 {
		return fmt.Sprintf("unknown data at byte %d", s.Size()-tailSize+int64(off)), nil
	}
	return sample(s)
}

// sealbayHeader names a LUKS2 header, be it ours or not.
func sealbayHeader(s *blockdev.Sync) (string, error) {
	cs, err := luks2.ReadCopies(s)
	if err != nil {
		return "", err
	}
	h, err := cs.Best()
	if err != nil {
		return "", nil // named by its magic, or nothing
	}
	return "the LUKS2 volume " + h.UUID(), nil
}

func named(head, tail []byte) string {
	for _, g := range signatures {
		from := head
		off := g.offset
		if off < 0 {
			from, off = tail, int64(len(tail))+off
		}
		if bytes.HasPrefix(from[off:], []byte(g.magic)) {
			return g.name
		}
	}
	return ""
}

func sample(s *blockdev.Sync) (string, error) {
	sector := make([]byte, SectorSize)
	step := (s.Size() - DataOffset) / samples &^ (SectorSize - 1)
	for off := int64(DataOffset); step > 0 && off < s.Size(); off += step {
		if _, err := s.ReadAt(sector, off); err != nil {
			return "", err
		}
		if i := firstNonZero(sector); i >= 0 {
			return fmt.Sprintf("unknown data at byte %d", off+int64(i)), nil
		}
	}
	return "", nil
}

// firstNonZero returns the index of the first byte that is not zero, or -1.
func firstNonZero(b []byte) int {
	zeros := make([]byte, SectorSize)
	for off := 0; off < len(b); off += len(zeros) {
		part := b[off:min(off+len(zeros), len(b))]
		if bytes.Equal(part, zeros[:len(part)]) {
			continue
		}
		return off + bytes.IndexFunc(part, func(r rune) bool { return r != 0 })
	}
	return -1
}

// FindData says what Format without Force would refuse dev for, or "" if it
// is blank.
func FindData(dev blockdev.Device) (string, error) {
	if dev.Info().Size < MinSize {
		return "", fmt.Errorf("searching %s: %w", dev.Info().Path, ErrTooSmall)
	}
	var what string
	err := withHeader(dev, func(s *blockdev.Sync) (err error) {
		what, err = findData(s)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("searching %s: %w", dev.Info().Path, err)
	}
	return what, nil
}
