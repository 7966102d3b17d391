package blockcrypt_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"sealbay/blockcrypt"
	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blocktest"
)

var (
	keyA   = bytes.Repeat([]byte{0xa1}, blockcrypt.KEKSize)
	keyB   = bytes.Repeat([]byte{0xb2}, blockcrypt.KEKSize)
	local  = blockcrypt.KeyInfo{Epoch: 1, Store: blockcrypt.StoreLocal}
	kms    = blockcrypt.KeyInfo{Epoch: 2, Store: blockcrypt.StoreKMS, KMIPKeyID: "42"}
	marker = bytes.Repeat([]byte("MARKER that must never be found on a drive.....\n"), 256)[:2*blockcrypt.SectorSize]
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantErr checks kind and text of an error, and that it is one line which
// names the drive.
func wantErr(t testing.TB, err, want error, text string) {
	t.Helper()
	if !errors.Is(err, want) || !strings.Contains(err.Error(), text) {
		t.Fatalf("got error %v, want %v with %q", err, want, text)
	}
	if !strings.Contains(err.Error(), "memory") || strings.Contains(err.Error(), "\n") {
		t.Fatalf("error does not name the drive in one line: %v", err)
	}
}

func newDrive() *blocktest.Memory {
	return blocktest.New(blockcrypt.MinSize+4*blockcrypt.SectorSize, blocktest.Options{})
}

// formatted returns a drive that opens under keyA and holds the marker in
// its second and third sector.
func formatted(t testing.TB) *blocktest.Memory {
	t.Helper()
	m := newDrive()
	_, err := blockcrypt.Format(m, keyA, blockcrypt.FormatOptions{Label: "test", Key: local})
	check(t, err)
	v := mustOpen(t, m, keyA, blockcrypt.OpenOptions{})
	_, err = v.WriteAt(marker, blockcrypt.SectorSize)
	check(t, err)
	check(t, v.Flush())
	return m
}

func mustOpen(t testing.TB, dev blockdev.Device, kek []byte, o blockcrypt.OpenOptions) *blockcrypt.Volume {
	t.Helper()
	v, err := blockcrypt.Open(dev, kek, o)
	check(t, err)
	t.Cleanup(func() { check(t, v.Close()) })
	return v
}

// holdsMarker checks that the volume opens and reads right.
func holdsMarker(t testing.TB, dev blockdev.Device, kek []byte, o blockcrypt.OpenOptions) {
	t.Helper()
	got := make([]byte, len(marker))
	_, err := mustOpen(t, dev, kek, o).ReadAt(got, blockcrypt.SectorSize)
	check(t, err)
	if !bytes.Equal(got, marker) {
		t.Fatal("the volume does not hold what was written")
	}
}

func TestVolume(t *testing.T) {
	m := formatted(t)
	holdsMarker(t, m, keyA, blockcrypt.OpenOptions{})
	if bytes.Contains(m.Image(), marker[:16]) {
		t.Fatal("plaintext is on the drive")
	}
	v := mustOpen(t, m, keyA, blockcrypt.OpenOptions{})
	info := v.Info()
	if info.Size != m.Info().Size-blockcrypt.DataOffset || info.Sector != blockcrypt.SectorSize || !strings.HasPrefix(info.Engine, "volume/") {
		t.Fatalf("info: %+v", info)
	}
	s := v.Summary()
	if s.Label != "test" || s.Generation != 1 || s.Key() != local || s.Degraded() != nil || s.Foreign != nil {
		t.Fatalf("summary: %+v", s)
	}
	_, err := v.ReadAt(make([]byte, 512), 0)
	wantErr(t, err, blockcrypt.ErrUnaligned, "")
	_, err = v.WriteAt(marker, 100)
	wantErr(t, err, blockcrypt.ErrUnaligned, "")
	_, err = v.ReadAt(marker, info.Size)
	wantErr(t, err, blockdev.ErrOutOfRange, "")
	check(t, v.Close())
	_, err = v.ReadAt(make([]byte, blockcrypt.SectorSize), 0)
	wantErr(t, err, blockdev.ErrClosed, "")
}

// both closes a volume and the device below, as Suite expects of a Device.
type both struct {
	*blockcrypt.Volume
	under blockdev.Device
}

func (b both) Close() error { return errors.Join(b.Volume.Close(), b.under.Close()) }

func TestVolumeSuite(t *testing.T) {
	for _, discard := range []bool{false, true} {
		t.Run(fmt.Sprintf("discard=%v", discard), func(t *testing.T) {
			blocktest.Suite(t, func(t *testing.T) blockdev.Device {
				m := blocktest.New(blockcrypt.DataOffset+blocktest.SuiteSize+1<<20, blocktest.Options{})
				_, err := blockcrypt.Format(m, keyA, blockcrypt.FormatOptions{Key: local})
				check(t, err)
				v, err := blockcrypt.Open(m, keyA, blockcrypt.OpenOptions{AllowDiscard: discard})
				check(t, err)
				return both{v, m}
			})
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	old := formatted(t).Image()
	for _, c := range []struct {
		name string
		do   func() error
		want error
		text string
	}{
		{"wrong key", func() error { return open(old, keyB, blockcrypt.OpenOptions{}) }, blockcrypt.ErrWrongKey, ""},
		{"blank", func() error { return open(make([]byte, blockcrypt.MinSize), keyA, blockcrypt.OpenOptions{}) }, blockcrypt.ErrNoHeader, ""},
		{"too small", func() error { return open(make([]byte, 1<<20), keyA, blockcrypt.OpenOptions{}) }, blockcrypt.ErrTooSmall, "want at least 17825792"},
		{"truncated", func() error { return open(old[:blockcrypt.MinSize], keyA, blockcrypt.OpenOptions{}) }, blockcrypt.ErrTruncated, ""},
		{"cut in the header", func() error { return open(old[:1<<20], keyA, blockcrypt.OpenOptions{}) }, blockcrypt.ErrTruncated, ""},
		{"stale", func() error { return open(old, keyA, blockcrypt.OpenOptions{MinGeneration: 2}) }, blockcrypt.ErrRolledBack, "generation 1, seen: 2"},
		{"short key", func() error { return open(old, keyA[:16], blockcrypt.OpenOptions{}) }, blockcrypt.ErrKeySize, "16 bytes, want 32"},
	} {
		t.Run(c.name, func(t *testing.T) { wantErr(t, c.do(), c.want, c.text) })
	}
}

func open(image, kek []byte, o blockcrypt.OpenOptions) error {
	m := blocktest.FromImage(image, blocktest.Options{ReadOnly: true})
	v, err := blockcrypt.Open(m, kek, o)
	if err == nil {
		err = v.Close()
	}
	return err
}

func TestFormatRefuses(t *testing.T) {
	o := blockcrypt.FormatOptions{Key: local}
	format := func(m *blocktest.Memory, kek []byte, o blockcrypt.FormatOptions) error {
		before := m.Image()
		_, err := blockcrypt.Format(m, kek, o)
		if !bytes.Equal(before, m.Image()) {
			t.Error("a refused format wrote to the drive")
		}
		return err
	}
	data := newDrive()
	s, err := blockdev.NewSync(data)
	check(t, err)
	_, err = s.WriteAt(bytes.Repeat([]byte{1}, 512), data.Info().Size-512)
	check(t, err)
	check(t, s.Close())
	wantErr(t, format(data, keyA, o), blockcrypt.ErrForeignData, "unknown data at byte 17841664")
	wantErr(t, format(formatted(t), keyA, o), blockcrypt.ErrForeignData, "the LUKS2 volume ")
	wantErr(t, format(blocktest.New(blockcrypt.MinSize-512, blocktest.Options{}), keyA, o), blockcrypt.ErrTooSmall, "")
	wantErr(t, format(blocktest.New(blockcrypt.MinSize+512, blocktest.Options{}), keyA, o), blockcrypt.ErrUnaligned, "")
	wantErr(t, format(blocktest.New(blockcrypt.MinSize, blocktest.Options{ReadOnly: true}), keyA, o), blockcrypt.ErrReadOnly, "")
	wantErr(t, format(newDrive(), keyA[:31], o), blockcrypt.ErrKeySize, "")
	o.Label, o.Force = "\x00", true
	wantErr(t, format(formatted(t), keyA, o), blockcrypt.ErrInvalid, "label")
}

func TestChangesOfKeys(t *testing.T) {
	m := formatted(t)
	check(t, blockcrypt.AddKey(m, keyA, keyB, kms))
	check(t, blockcrypt.Verify(m, keyB))
	holdsMarker(t, m, keyB, blockcrypt.OpenOptions{})
	check(t, blockcrypt.KillKey(m, keyB, keyA))
	wantErr(t, blockcrypt.Verify(m, keyA), blockcrypt.ErrWrongKey, "")
	sum, err := blockcrypt.Inspect(m)
	check(t, err)
	if len(sum.Slots) != 1 || sum.Key() != kms || sum.Generation != 3 {
		t.Fatalf("summary: %+v", sum)
	}
	_, err = blockcrypt.RescueKey(m, keyA)
	wantErr(t, err, blockcrypt.ErrWrongKey, "")
	ro := blocktest.FromImage(m.Image(), blocktest.Options{ReadOnly: true})
	wantErr(t, blockcrypt.AddKey(ro, keyB, keyA, local), blockcrypt.ErrReadOnly, "")
	wantErr(t, blockcrypt.KillKey(ro, keyB, keyA), blockcrypt.ErrReadOnly, "")
}

func TestDegraded(t *testing.T) {
	image := formatted(t).Image()
	image[5000] ^= 1
	m := blocktest.FromImage(image, blocktest.Options{})
	holdsMarker(t, m, keyA, blockcrypt.OpenOptions{})
	wantErr(t, blockcrypt.Verify(m, keyA), blockcrypt.ErrDegraded, "the primary: checksum does not match")
	if !bytes.Equal(m.Image(), image) {
		t.Fatal("reading wrote to the drive")
	}
	check(t, blockcrypt.Repair(m, keyA))
	check(t, blockcrypt.Verify(m, keyA))
}

// A power cut in Format leaves a drive that opens, or one that the next
// Format takes for blank.
func TestPowerCutInFormat(t *testing.T) {
	o := blockcrypt.FormatOptions{Key: local}
	m := newDrive()
	m.Record()
	_, err := blockcrypt.Format(m, keyA, o)
	check(t, err)
	for where, left := range m.Cuts(1) {
		if opensUnder(t, where, left, keyA) {
			continue
		}
		what, err := blockcrypt.FindData(left)
		check(t, err)
		if what != "" {
			t.Errorf("%s: the drive is taken to hold %s", where, what)
		}
		if _, err := blockcrypt.Format(left, keyA, o); err != nil {
			t.Errorf("%s: %v", where, err)
		}
	}
}

// opensUnder reports whether the drive opens; if not, that must be because
// it has no header.
func opensUnder(t *testing.T, where string, m *blocktest.Memory, kek []byte) bool {
	t.Helper()
	err := blockcrypt.Verify(m, kek)
	if err == nil || errors.Is(err, blockcrypt.ErrDegraded) {
		return true
	}
	if !errors.Is(err, blockcrypt.ErrNoHeader) {
		t.Errorf("%s: %v", where, err)
	}
	return false
}

// A power cut in a forced Format leaves the old volume, a blanked drive, or
// the new volume.
func TestPowerCutInForcedFormat(t *testing.T) {
	image := formatted(t).Image()
	o := blockcrypt.FormatOptions{Key: kms, Force: true}
	var old, blank, fresh int
	for n := 0; ; n++ {
		m := blocktest.FromImage(image, blocktest.Options{})
		m.PowerOffAt(n)
		if _, err := blockcrypt.Format(m, keyB, o); err == nil {
			break
		}
		for i, keep := range []blocktest.Keep{blocktest.KeepNone, blocktest.KeepAll, blocktest.TearLast(32), blocktest.KeepLast} {
			left := m.Crash(keep)
			switch err := blockcrypt.Verify(left, keyB); {
			case err == nil || errors.Is(err, blockcrypt.ErrDegraded):
				fresh++
			case errors.Is(err, blockcrypt.ErrWrongKey):
				old++
				opensUnder(t, fmt.Sprintf("power off at operation %d, luck %d", n, i), left, keyA)
			case errors.Is(err, blockcrypt.ErrNoHeader):
				blank++
			default:
				t.Errorf("power off at operation %d, luck %d: %v", n, i, err)
			}
		}
	}
	if old == 0 || blank == 0 || fresh == 0 {
		t.Fatalf("%d old, %d blank, %d fresh", old, blank, fresh)
	}
}

func TestCryptoErase(t *testing.T) {
	m := formatted(t)
	sum, err := blockcrypt.Inspect(m)
	check(t, err)
	backup, err := blockcrypt.BackupHeader(m, blockcrypt.BackupOptions{})
	check(t, err)
	e, err := blockcrypt.CryptoErase(m)
	check(t, err)
	if e.UUID != sum.UUID || e.Before == e.After {
		t.Fatalf("erasure: %+v", e)
	}
	if area := m.Crash(blocktest.KeepNone).Image()[:blockcrypt.DataOffset]; e.After != sha256.Sum256(area) {
		t.Fatal("the erasure came back before it was on stable storage")
	}
	check(t, blockcrypt.RestoreHeader(m, backup, blockcrypt.RestoreOptions{}))
	wantErr(t, blockcrypt.Verify(m, keyA), blockcrypt.ErrWrongKey, "")
	_, err = blockcrypt.CryptoErase(newDrive())
	wantErr(t, err, blockcrypt.ErrNoHeader, "")
}

// A power cut in CryptoErase leaves a drive that can be erased again, or that
// is.
func TestPowerCutInErase(t *testing.T) {
	image := formatted(t).Image()
	opened := 0
	for n := 0; ; n += 5 {
		m := blocktest.FromImage(image, blocktest.Options{})
		m.PowerOffAt(n)
		if eraseAgain(m) == nil {
			break
		}
		for i, keep := range []blocktest.Keep{blocktest.KeepNone, blocktest.TearLast(2048)} {
			left := m.Crash(keep)
			if blockcrypt.Verify(left, keyA) == nil {
				opened++
			}
			if err := eraseAgain(left); err != nil && !errors.Is(err, blockcrypt.ErrNoHeader) {
				t.Errorf("power off at operation %d, luck %d: %v", n, i, err)
			}
			if err := blockcrypt.Verify(left, keyA); err == nil {
				t.Errorf("power off at operation %d, luck %d: opens after an erasure", n, i)
			}
		}
	}
	if opened == 0 {
		t.Error("no power cut came before the erasure")
	}
}

func eraseAgain(m *blocktest.Memory) error {
	_, err := blockcrypt.CryptoErase(m)
	return err
}

// A damaged header can still be erased: that is when it is asked for.
func TestEraseDamaged(t *testing.T) {
	image := formatted(t).Image()
	image[5000] ^= 1
	image[25000] ^= 1
	e, err := blockcrypt.CryptoErase(blocktest.FromImage(image, blocktest.Options{}))
	check(t, err)
	if e.UUID != "" {
		t.Fatalf("UUID %q of a damaged header", e.UUID)
	}
}

// An erasure that fails, or that the drive only pretends to do, is an error.
func TestEraseFails(t *testing.T) {
	image := formatted(t).Image()
	for n := 0; ; n += 9 {
		m := blocktest.FromImage(image, blocktest.Options{})
		m.FailAt(n, unix.EIO)
		_, err := blockcrypt.CryptoErase(m)
		if err == nil {
			if n < 60 {
				t.Fatalf("only %d operations could fail", n)
			}
			return
		}
		wantErr(t, err, unix.EIO, "")
	}
}

func TestBackupAndRestore(t *testing.T) {
	m := formatted(t)
	for _, keyslots := range []bool{false, true} {
		b, err := blockcrypt.BackupHeader(m, blockcrypt.BackupOptions{Keyslots: keyslots})
		check(t, err)
		info, err := blockcrypt.InspectBackup(b)
		check(t, err)
		sum, err := blockcrypt.Inspect(m)
		check(t, err)
		if info != (blockcrypt.BackupInfo{UUID: sum.UUID, Generation: 1, Keyslots: keyslots}) {
			t.Fatalf("backup: %+v", info)
		}
		image := m.Image()
		n := 32768
		if keyslots {
			n = blockcrypt.DataOffset
		}
		clear(image[:n])
		broken := blocktest.FromImage(image, blocktest.Options{})
		check(t, blockcrypt.RestoreHeader(broken, b, blockcrypt.RestoreOptions{}))
		holdsMarker(t, broken, keyA, blockcrypt.OpenOptions{})
	}
}
