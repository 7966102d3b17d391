package blocktest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// What is done to the file is what reaches the Memory, and what the Memory
// answers is what the kernel does.
func TestMount(t *testing.T) {
	f := Mount(t, New(1<<20, Options{}))
	loop := Loop(t, f.Path, 512)
	buf, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(buf)
	for path, want := range map[string]string{
		f.Path: "[write at 4096+4096 flush write at 65536+4096 (FUA) write zeroes at 8192+4096]",
		// A loop device has no FUA, and the kernel zeroes by writing.
		loop: "[write at 4096+4096 flush write at 65536+4096 flush flush write at 8192+4096]",
	} {
		m := New(1<<20, Options{})
		f.Swap(m)
		file, err := os.OpenFile(path, os.O_RDWR|unix.O_DIRECT, 0)
		if err != nil {
			t.Fatal(err)
		}
		m.Record()
		fd := int(file.Fd())
		copy(buf, bytes.Repeat([]byte{7}, 4096))
		_, err = unix.Pwrite(fd, buf, 4096)
		err = errors.Join(err, unix.Fdatasync(fd))
		_, err2 := unix.Pwritev2(fd, [][]byte{buf}, 65536, unix.RWF_DSYNC)
		if err := errors.Join(err, err2, unix.Fallocate(fd, unix.FALLOC_FL_ZERO_RANGE|unix.FALLOC_FL_KEEP_SIZE, 8192, 4096)); err != nil {
			t.Error(err)
		}
		if got := fmt.Sprint(m.Journal()); got != want {
			t.Errorf("%s: the drive saw %s, want %s", path, got, want)
		}
		clear(buf)
		if n, err := unix.Pread(fd, buf, 4096); n != 4096 || err != nil || !filled(buf, 7) {
			t.Errorf("%s: read %d, %v, %x...", path, n, err, buf[:8])
		}
		m.FailAt(0, unix.EIO)
		if _, err := unix.Pread(fd, buf, 4096); err != unix.EIO {
			t.Errorf("%s: a read that fails says %v", path, err)
		}
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}
}
