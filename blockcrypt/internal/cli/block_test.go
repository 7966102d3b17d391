package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sealbay/blockcrypt/blocktest"
)

// sealvol runs a command line under key and returns its exit code and error
// text.
func sealvol(t *testing.T, key string, args ...string) (int, string) {
	t.Helper()
	var errs bytes.Buffer
	args = append(args[:1:1], append([]string{"--key-file", "-"}, args[1:]...)...)
	code := Run(t.Context(), args, strings.NewReader(key), &bytes.Buffer{}, &errs)
	return code, errs.String()
}

func wantRun(t *testing.T, code int, text string, gotCode int, got string) {
	t.Helper()
	if gotCode != code || !strings.Contains(got, text) {
		t.Fatalf("exit %d, %q; want exit %d, %q", gotCode, got, code, text)
	}
}

// What only a real block device does: refuse while mounted or read-only, and
// have sectors of its own size.
func TestBlockDevice(t *testing.T) {
	key := strings.Repeat("k", 32)
	for _, sector := range []int{512, 4096} {
		file := blocktest.File(t, "", 32<<20)
		dev := blocktest.Loop(t, file, sector)
		code, errs := sealvol(t, key, "format", dev)
		wantRun(t, 0, "", code, errs)
		code, errs = sealvol(t, key, "open-test", dev)
		wantRun(t, 0, "", code, errs)
		code, errs = sealvol(t, key, "format", dev)
		wantRun(t, 1, "formatting "+dev+": holds data: the LUKS2 volume", code, errs)

		// The same drive behind a read-only device.
		ro := blocktest.Loop(t, file, sector, "--read-only")
		code, errs = sealvol(t, key, "format", "--i-know-this-erases", ro, ro)
		wantRun(t, 1, "opening "+ro+": device is read-only; nothing was changed", code, errs)
		code, errs = sealvol(t, key, "open-test", ro)
		wantRun(t, 0, "", code, errs)
	}
}

func TestMountedDevice(t *testing.T) {
	key := strings.Repeat("k", 32)
	file := blocktest.File(t, "", 32<<20)
	dev := blocktest.Loop(t, file, 512)
	blocktest.Command(t, "e2fsprogs", "mkfs.ext4", "-q", dev)
	at := filepath.Join(t.TempDir(), "at")
	if err := os.Mkdir(at, 0o700); err != nil {
		t.Fatal(err)
	}
	blocktest.Command(t, "mount", "mount", dev, at)
	t.Cleanup(func() { blocktest.Command(t, "mount", "umount", at) })
	code, errs := sealvol(t, key, "format", "--i-know-this-erases", dev, dev)
	wantRun(t, 1, "opening "+dev+": device is in use: mounted at "+at, code, errs)
}
