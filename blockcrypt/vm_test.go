//go:build vm

// Run by `make test-vm` inside the appliance's kernel (scripts/vmrun): the
// build machine may have no device-mapper.

package blockcrypt_test

import (
	"bytes"
	"crypto/rand"
	"io"
	"os"
	"testing"

	"sealbay/blockcrypt"
	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blockdev/direct"
)

const vmDrive = "/dev/nvme0n1"

// TestVMDMCrypt holds a volume against the other implementation of its
// cipher and format: the kernel's dm-crypt, set up by cryptsetup with nothing
// but the drive's rescue key. Each reads what the other wrote.
func TestVMDMCrypt(t *testing.T) {
	requireVM(t)
	kek, ours, theirs := vmRandom(t, blockcrypt.KEKSize), vmRandom(t, 64<<10), vmRandom(t, 64<<10)
	dev := vmOpenDrive(t)
	if _, err := blockcrypt.Format(dev, kek, blockcrypt.FormatOptions{Key: blockcrypt.KeyInfo{Epoch: 1, Store: blockcrypt.StoreLocal}, Force: true}); err != nil {
		t.Fatal(err)
	}
	rescue, err := blockcrypt.RescueKey(dev, kek)
	if err != nil {
		t.Fatal(err)
	}
	end := vmWithVolume(t, dev, kek, func(v *blockcrypt.Volume) {
		end := v.Info().Size - int64(len(ours))
		for _, at := range []int64{0, 1 << 20, end} { // the last sectors too: both must agree on the volume's length
			if _, err := v.WriteAt(ours, at); err != nil {
				t.Fatal(err)
			}
		}
		if err := v.Flush(); err != nil {
			t.Fatal(err)
		}
	})
	if err := dev.Close(); err != nil {
		t.Fatal(err)
	}

	if err := os.WriteFile("/run/rescue.key", rescue, 0o600); err != nil {
		t.Fatal(err)
	}
	cryptsetup(t, "open", "--key-file", "/run/rescue.key", vmDrive, "judge")
	mapped, err := os.OpenFile("/dev/mapper/judge", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if size, err := mapped.Seek(0, io.SeekEnd); err != nil || size != end+int64(len(ours)) {
		t.Errorf("dm-crypt's volume has %d bytes (%v), ours %d", size, err, end+int64(len(ours)))
	}
	for _, at := range []int64{0, 1 << 20, end} {
		if got := vmReadAt(t, mapped, at, len(ours)); !bytes.Equal(got, ours) {
			t.Errorf("dm-crypt does not read at %d what we wrote", at)
		}
	}
	if _, err := mapped.WriteAt(theirs, 3<<20); err != nil {
		t.Fatal(err)
	}
	if err := mapped.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := mapped.Close(); err != nil {
		t.Fatal(err)
	}
	cryptsetup(t, "close", "judge")

	dev = vmOpenDrive(t)
	defer dev.Close()
	vmWithVolume(t, dev, kek, func(v *blockcrypt.Volume) {
		if got := vmReadAt(t, v, 3<<20, len(theirs)); !bytes.Equal(got, theirs) {
			t.Error("we do not read what dm-crypt wrote")
		}
		if got := vmReadAt(t, v, 1<<20, len(ours)); !bytes.Equal(got, ours) {
			t.Error("what we wrote is gone")
		}
	})
}

func vmWithVolume(t *testing.T, dev blockdev.Device, kek []byte, use func(*blockcrypt.Volume)) (end int64) {
	t.Helper()
	v, err := blockcrypt.Open(dev, kek, blockcrypt.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	use(v)
	end = v.Info().Size - 64<<10
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	return end
}

func vmOpenDrive(t *testing.T) blockdev.Device {
	t.Helper()
	dev, err := direct.Open(vmDrive, direct.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return dev
}

func vmReadAt(t *testing.T, r io.ReaderAt, at int64, n int) []byte {
	t.Helper()
	p := make([]byte, n)
	if _, err := r.ReadAt(p, at); err != nil {
		t.Fatal(err)
	}
	return p
}

func vmRandom(t *testing.T, n int) []byte {
	t.Helper()
	p := make([]byte, n)
	if _, err := rand.Read(p); err != nil {
		t.Fatal(err)
	}
	return p
}

func requireVM(t *testing.T) {
	t.Helper()
	if os.Getenv("SEALBAY_VM") == "" {
		t.Fatal("runs inside the appliance's kernel only: make test-vm")
	}
}
