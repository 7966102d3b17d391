package blocktest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// RequireRoot fails the test where it does not run as root: what needs a real
// device is not quietly left out.
func RequireRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("needs root for a real block device: run the tests as root (make test)")
	}
}

// File makes a file of size bytes, all zeros and allocated, in a folder on
// the file system that holds dir ("" is the system's place for temporary
// files) and removes it after the test.
func File(t testing.TB, dir string, size int64) string {
	t.Helper()
	dir, err := os.MkdirTemp(dir, "blocktest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	path := filepath.Join(dir, "drive")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Fallocate(int(f.Fd()), 0, 0, size); err != nil {
		t.Fatalf("allocating %d bytes in %s: %v", size, dir, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// Tmpfs is a folder in memory, for File. It fails the test where /dev/shm is
// no tmpfs.
func Tmpfs(t testing.TB) string {
	t.Helper()
	const dir, magic = "/dev/shm", unix.TMPFS_MAGIC
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || st.Type != magic {
		t.Fatalf("%s is no tmpfs (type %#x, %v): mount one there", dir, st.Type, err)
	}
	return dir
}

// Loop makes a real block device of the file at path, with direct I/O to it
// and sectors of that many bytes, and takes it away after the test, or when
// the test is killed: detached while we hold it open, it stays until the last
// descriptor is gone (loop(4), LO_FLAGS_AUTOCLEAR).
func Loop(t testing.TB, path string, sector int, more ...string) string {
	t.Helper()
	RequireRoot(t)
	args := append([]string{"--find", "--show", "--direct-io=on", "--sector-size", strconv.Itoa(sector)}, more...)
	dev := strings.TrimSpace(Command(t, "mount", "losetup", append(args, path)...))
	hold, err := os.Open(dev)
	Command(t, "mount", "losetup", "--detach", dev)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := hold.Close(); err != nil {
			t.Error(err)
		}
	})
	return dev
}

// Command runs a program of the Debian package pkg and returns what it
// prints. The test fails where the program does, or is missing.
func Command(t testing.TB, pkg, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is missing: apt-get install %s (scripts/setup.sh does)", name, pkg)
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
