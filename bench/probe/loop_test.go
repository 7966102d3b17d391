package probe_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// requireRoot fails, not skips: without root nothing here is tested.
func requireRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("kernel probes need root: run the tests as root")
	}
}

// loopDevice returns a loop device with direct I/O over size bytes of tmpfs,
// the steadiest device with a request queue that every machine has.
func loopDevice(t testing.TB, size int64) string {
	t.Helper()
	requireRoot(t)
	dir := tmpfs(t)
	file := filepath.Join(dir, "disk")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, size); err != nil {
		t.Fatal(err)
	}
	back, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	for range 20 { // another process may take the free one first
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			t.Fatalf("asking for a free loop device: %v", err)
		}
		if path, ok := configure(t, n, int(back.Fd())); ok {
			return path
		}
	}
	t.Fatal("no free loop device in 20 tries")
	return ""
}

func configure(t testing.TB, n, back int) (string, bool) {
	t.Helper()
	path := fmt.Sprintf("/dev/loop%d", n)
	dev, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	config := unix.LoopConfig{Fd: uint32(back), Size: 4096}
	config.Info.Flags = unix.LO_FLAGS_DIRECT_IO
	err = unix.IoctlLoopConfigure(int(dev.Fd()), &config)
	if err == unix.EBUSY {
		return "", false
	}
	if err != nil {
		t.Fatalf("setting up %s: %v", path, err)
	}
	t.Cleanup(func() {
		dev, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer dev.Close()
		if err := unix.IoctlSetInt(int(dev.Fd()), unix.LOOP_CLR_FD, 0); err != nil {
			t.Errorf("releasing %s: %v", path, err)
		}
	})
	return path, true
}

func tmpfs(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1g"); err != nil {
		t.Fatalf("mounting a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmounting %s: %v", dir, err)
		}
	})
	return dir
}

// onOneThread runs f locked to a thread that ends with it.
func onOneThread(t testing.TB, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
