package luks2

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"sealbay/blockcrypt/blocktest"
)

func slots(t testing.TB, dev Device) []Slot {
	t.Helper()
	h, err := Load(dev, false)
	check(t, err)
	return h.Slots()
}

// opens returns the volume key, and fails the test if kek does not get at it.
func opens(t testing.TB, dev Device, kek []byte) []byte {
	t.Helper()
	key, err := open(dev, kek, false)
	check(t, err)
	return key
}

func refuses(t testing.TB, dev Device, kek []byte) {
	t.Helper()
	_, err := open(dev, kek, false)
	wantErr(t, err, ErrWrongKey, "")
}

func TestAddAndKillKey(t *testing.T) {
	dev := created(t)
	key := opens(t, dev, keyA)
	check(t, AddKey(dev, keyA, keyB, kms))
	if !bytes.Equal(key, opens(t, dev, keyA)) || !bytes.Equal(key, opens(t, dev, keyB)) {
		t.Fatal("volume key changed")
	}
	if s := slots(t, dev); len(s) != 2 || s[0].Key != kms || s[1].Key != local {
		t.Fatalf("slots after adding: %+v", s)
	}
	before := headers(t, dev)
	check(t, AddKey(dev, keyA, keyB, kms))
	check(t, KillKey(dev, keyA, keyC))
	if !bytes.Equal(before, headers(t, dev)) {
		t.Fatal("adding a key that is there, or killing one that is not, wrote to the drive")
	}
	check(t, KillKey(dev, keyB, keyA))
	refuses(t, dev, keyA)
	if s := slots(t, dev); len(s) != 1 || s[0].Key != kms || !bytes.Equal(key, opens(t, dev, keyB)) {
		t.Fatalf("slots after killing: %+v", s)
	}
	if !isZero(readAt(t, dev, keyslotsStart, areaSize)) {
		t.Fatal("the killed keyslot's material is still there")
	}
	check(t, AddKey(dev, keyB, keyC, local))
	if s := slots(t, dev); s[0].Offset != keyslotsStart {
		t.Fatalf("the free area was not used again: %+v", s)
	}
}

func TestAddKeyUpdatesItsInfo(t *testing.T) {
	dev := created(t)
	check(t, AddKey(dev, keyA, keyA, kms))
	if s := slots(t, dev); len(s) != 1 || s[0].Key != kms {
		t.Fatalf("slots: %+v", s)
	}
}

func TestLastKeyStays(t *testing.T) {
	dev := created(t)
	before := headers(t, dev)
	wantErr(t, KillKey(dev, keyA, keyA), ErrLastKey, "")
	wantErr(t, KillKey(dev, keyB, keyA), ErrWrongKey, "")
	if !bytes.Equal(before, headers(t, dev)) {
		t.Fatal("a refused kill wrote to the drive")
	}
}

func TestKeyslotsFillUp(t *testing.T) {
	dev := created(t)
	for i := range MaxKeyslots - 1 {
		check(t, AddKey(dev, keyA, bytes.Repeat([]byte{byte(i)}, KEKSize), local))
	}
	wantErr(t, AddKey(dev, keyA, keyB, local), ErrFull, "all 8")
	check(t, KillKey(dev, keyA, bytes.Repeat([]byte{3}, KEKSize)))
	check(t, AddKey(dev, keyA, keyB, local))
	opens(t, dev, keyB)
}

func TestBadArguments(t *testing.T) {
	dev := drive(t, blocktest.New(MinSize, blocktest.Options{}))
	for want, err := range map[string]error{
		"31 bytes":               Create(dev, keyA[:31], CreateOptions{Key: local}),
		"lower-case hexadecimal": Create(dev, keyA, CreateOptions{Key: local, UUID: "AC722C09-8BF5-4A12-8ED3-127C2C4C6888"}),
		"47 characters":          Create(dev, keyA, CreateOptions{Key: local, Label: strings.Repeat("x", 48)}),
		"has no KMIP key ID":     Create(dev, keyA, CreateOptions{Key: KeyInfo{Store: StoreLocal, KMIPKeyID: "1"}}),
		"neither":                Create(dev, keyA, CreateOptions{}),
		"255 characters":         Create(dev, keyA, CreateOptions{Key: KeyInfo{Store: StoreKMS, KMIPKeyID: "\n"}}),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want one with %q", err, want)
		}
	}
	if !isZero(headers(t, dev)) {
		t.Fatal("a refused format wrote to the drive")
	}
}

// starts are drives on which a change may begin: whole, or left with one bad
// header copy by an earlier power cut. Each holds keys A (newest) and, if
// two, B.
func starts(t *testing.T, two bool) map[string][]byte {
	m := blocktest.New(MinSize, blocktest.Options{})
	dev := drive(t, m)
	check(t, Create(dev, keyB, CreateOptions{Key: kms}))
	stale := headers(t, dev)
	check(t, AddKey(dev, keyB, keyA, local))
	if !two {
		stale = headers(t, dev)
		check(t, KillKey(dev, keyA, keyB))
	}
	whole := m.Image()
	images := map[string][]byte{"whole": whole}
	for i := range 2 {
		torn, old := slices.Clone(whole), slices.Clone(whole)
		torn[i*HeaderSize+5000] ^= 1
		copy(old[i*HeaderSize:(i+1)*HeaderSize], stale[i*HeaderSize:])
		images["torn "+copyNames[i]], images["stale "+copyNames[i]] = torn, old
	}
	return images
}

// cuts runs change on every start, and then check on the drive as a power cut
// after each operation may leave it.
func cuts(t *testing.T, starts map[string][]byte, change func(Device) error, after func(t *testing.T, dev Device, key []byte)) {
	for name, image := range starts {
		t.Run(name, func(t *testing.T) {
			m := blocktest.FromImage(image, blocktest.Options{})
			dev := drive(t, m)
			key := opens(t, dev, keyA)
			m.Record()
			check(t, change(dev))
			isStable(t, m)
			n := 0
			for where, left := range m.Cuts(1) {
				n++
				if !t.Run(where, func(t *testing.T) { after(t, drive(t, left), key) }) {
					return
				}
			}
			if n < 10 {
				t.Fatalf("only %d power cuts", n)
			}
		})
	}
}

func TestPowerCutInAddKey(t *testing.T) {
	add := func(dev Device) error { return AddKey(dev, keyA, keyB, kms) }
	cuts(t, starts(t, false), add, func(t *testing.T, dev Device, key []byte) {
		mustOpen(t, dev, keyA, key)
		listed := len(slots(t, dev))
		if opened := mayOpen(t, dev, keyB, key); opened != (listed == 2) {
			t.Errorf("%d keyslots listed, the new key opens: %v", listed, opened)
		}
		check(t, add(dev))
		mustOpen(t, dev, keyB, key)
		mustOpen(t, dev, keyA, key)
		isWhole(t, dev)
	})
}

func TestPowerCutInKillKey(t *testing.T) {
	kill := func(dev Device) error { return KillKey(dev, keyA, keyB) }
	cuts(t, starts(t, true), kill, func(t *testing.T, dev Device, key []byte) {
		mustOpen(t, dev, keyA, key)
		mayOpen(t, dev, keyB, key)
		check(t, kill(dev))
		mustOpen(t, dev, keyA, key)
		refuses(t, dev, keyB)
		isWhole(t, dev)
		if s := slots(t, dev); len(s) != 1 {
			t.Fatalf("slots after killing again: %+v", s)
		}
		if !isZero(readAt(t, dev, keyslotsStart, areaSize)) {
			t.Fatal("the killed keyslot's material is still there")
		}
	})
}

func TestPowerCutInRepair(t *testing.T) {
	for name, image := range starts(t, true) {
		if name == "whole" {
			continue
		}
		m := blocktest.FromImage(image, blocktest.Options{})
		m.Record()
		check(t, Repair(drive(t, m), keyA))
		for where, left := range m.Cuts(2) {
			if _, err := open(drive(t, left), keyB, false); err != nil {
				t.Errorf("%s, %s: %v", name, where, err)
			}
		}
	}
}

func TestPowerCutInAdopt(t *testing.T) {
	info := KeyInfo{Epoch: 7, Store: StoreLocal}
	adopt := func(dev Device, with []byte) error {
		h, err := Load(dev, true)
		if err != nil {
			return err
		}
		secret, err := SlotSecret(with, h.UUID())
		if err != nil {
			return err
		}
		return Adopt(dev, secret, keyC, info)
	}
	cuts(t, starts(t, true), func(dev Device) error { return adopt(dev, keyA) }, func(t *testing.T, dev Device, key []byte) {
		with := keyC
		if _, err := open(dev, keyC, true); err != nil {
			with = keyA
		}
		mustOpen(t, dev, with, key)
		check(t, adopt(dev, with))
		mustOpen(t, dev, keyC, key)
		refuses(t, dev, keyA)
		refuses(t, dev, keyB)
		isWhole(t, dev)
		s := slots(t, dev)
		clear(s[1:])
		rest := readAt(t, dev, keyslotsStart, DataOffset-keyslotsStart)
		clear(rest[s[0].Offset-keyslotsStart:][:areaSize])
		if len(s) != 1 || s[0].Key != info || !isZero(rest) {
			t.Fatalf("keyslots area is not clean after adopting: %+v", s)
		}
	})
}

// A blank drive is blank after a power cut, in every tool's eyes, or opens.
func TestPowerCutInCreate(t *testing.T) {
	m := blocktest.New(MinSize, blocktest.Options{})
	m.Record()
	o := CreateOptions{Key: local, UUID: NewUUID()}
	check(t, Create(drive(t, m), keyA, o))
	isStable(t, m)
	opened := 0
	for where, left := range m.Cuts(3) {
		dev := drive(t, left)
		_, err := open(dev, keyA, false)
		if err == nil {
			opened++
			check(t, Repair(dev, keyA))
			isWhole(t, dev)
			continue
		}
		wantErr(t, err, ErrNoHeader, "")
		image := left.Image()
		clear(FormatLeftovers(image))
		if !isZero(image) {
			t.Errorf("%s: traces outside FormatLeftovers", where)
		}
	}
	if opened < 3 {
		t.Fatalf("only %d drives opened", opened)
	}
}

// isStable checks that nothing which was written waits for a flush.
func isStable(t *testing.T, m *blocktest.Memory) {
	t.Helper()
	if !bytes.Equal(m.Image(), m.Crash(blocktest.KeepNone).Image()) {
		t.Error("a change came back with writes that no flush covers")
	}
}

func mustOpen(t *testing.T, dev Device, kek, key []byte) {
	t.Helper()
	if got := opens(t, dev, kek); !bytes.Equal(got, key) {
		t.Fatal("opened with another volume key")
	}
}

func mayOpen(t *testing.T, dev Device, kek, key []byte) bool {
	t.Helper()
	got, err := open(dev, kek, false)
	if err != nil {
		wantErr(t, err, ErrWrongKey, "")
		return false
	}
	if !bytes.Equal(got, key) {
		t.Fatal("opened with another volume key")
	}
	return true
}

func isWhole(t *testing.T, dev Device) {
	t.Helper()
	h, err := Load(dev, false)
	check(t, err)
	check(t, Degraded(h.Copies()))
}

// A drive that fails at any single operation ends the change with its error,
// and what is on it still opens; the change can be repeated.
func TestEIO(t *testing.T) {
	for name, change := range map[string]func(Device) error{
		"add":  func(dev Device) error { return AddKey(dev, keyA, keyC, kms) },
		"kill": func(dev Device) error { return KillKey(dev, keyA, keyB) },
	} {
		for start, image := range starts(t, true) {
			t.Run(name+" "+start, func(t *testing.T) {
				failed := 0
				for n := 0; ; n++ {
					m := blocktest.FromImage(image, blocktest.Options{Path: "/dev/bad"})
					dev := drive(t, m)
					m.FailAt(n, unix.EIO)
					err := change(dev)
					m.Fail(nil)
					opens(t, dev, keyA)
					check(t, change(dev))
					if err == nil {
						break
					}
					failed++
					wantErr(t, err, unix.EIO, "/dev/bad")
				}
				if failed < 8 {
					t.Fatalf("only %d operations could fail", failed)
				}
			})
		}
	}
}

func TestBackup(t *testing.T) {
	m := blocktest.New(MinSize, blocktest.Options{})
	dev := drive(t, m)
	check(t, Create(dev, keyA, CreateOptions{Key: local}))
	old, err := Backup(dev, true)
	check(t, err)
	check(t, AddKey(dev, keyA, keyB, kms))
	check(t, KillKey(dev, keyB, keyA))
	small, err := Backup(dev, false)
	check(t, err)
	full, err := Backup(dev, true)
	check(t, err)

	wantErr(t, Restore(dev, old, false), ErrStale, "generation 1, the drive has 3")
	wantErr(t, Restore(created(t), full, false), ErrOtherDrive, "")
	full[5000] ^= 1
	wantErr(t, Restore(dev, full, true), ErrCorrupt, "")
	full[5000] ^= 1
	wantErr(t, Restore(dev, full[:100], true), ErrCorrupt, "100 bytes")

	writeAt(t, dev, make([]byte, 2*HeaderSize), 0)
	check(t, Restore(dev, small, false))
	isStable(t, m)
	opens(t, dev, keyB)
	writeAt(t, dev, make([]byte, DataOffset), 0)
	check(t, Restore(dev, full, false))
	opens(t, dev, keyB)
	refuses(t, dev, keyA)
	check(t, Restore(dev, old, true))
	opens(t, dev, keyA)
}

// A header kept from before a rotation, put back without its keyslots, must
// not bring the killed key back to life (8).
func TestOldHeaderAndOldKey(t *testing.T) {
	dev := created(t)
	old, err := Backup(dev, false)
	check(t, err)
	check(t, AddKey(dev, keyA, keyB, kms))
	check(t, KillKey(dev, keyB, keyA))
	check(t, Restore(dev, old, true))
	refuses(t, dev, keyA)
}

func TestNewUUID(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		u := NewUUID()
		if !validUUID(u) || u[14] != '4' || !strings.ContainsRune("89ab", rune(u[19])) || seen[u] {
			t.Fatal(u)
		}
		seen[u] = true
	}
	for _, u := range []string{"", "x", NewUUID() + "0", strings.ToUpper("ac722c09-8bf5-4a12-8ed3-127c2c4c6888"), fmt.Sprintf("%036d", 0)} {
		if validUUID(u) {
			t.Errorf("%q passes for a UUID", u)
		}
	}
}
