package blocktest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Mounted is a Memory behind a real file of the kernel's: what an engine asks
// of the kernel, by whatever system call, through a loop device or not,
// reaches the Memory as the kernel hands it on, and what the Memory answers is
// the kernel's answer. So an engine is tested as it is, over a drive that
// loses its power or fails on purpose.
//
// The file is the root of a file system in user space (fuse(4)), served by
// this process.
type Mounted struct {
	Path string // of the file
	dev  int    // /dev/fuse
	serv sync.WaitGroup

	watcher *exec.Cmd

	mu sync.RWMutex // guards m
	m  *Memory
}

// Mount puts m behind a file until the end of the test.
func Mount(t testing.TB, m *Memory) *Mounted {
	t.Helper()
	RequireRoot(t)
	dev, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("opening /dev/fuse: %v: the kernel needs CONFIG_FUSE_FS, or modprobe fuse", err)
	}
	f := &Mounted{Path: filepath.Join(t.TempDir(), "drive"), dev: dev, m: m}
	if err := os.WriteFile(f.Path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=%o,user_id=0,group_id=0,max_read=%d", dev, unix.S_IFREG, fuseMaxIO)
	if err := unix.Mount("blocktest", f.Path, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		t.Fatalf("mounting a drive at %s: %v", f.Path, err)
	}
	t.Cleanup(func() { f.unmount(t) })
	watched := make(chan error)
	f.serv.Go(func() {
		runtime.LockOSThread()
		watched <- f.watch()
		f.serve()
	})
	for range 3 {
		f.serv.Go(f.serve)
	}
	if err := errors.Join(<-watched, f.refusePoll()); err != nil {
		t.Fatal(err)
	}
	return f
}

// refusePoll has the kernel ask once whether the file can be polled, and no
// more after the answer, ENOSYS. Go's runtime asks when it opens a file, by a
// call that it thinks never waits: it would hold up the goroutines that serve.
func (f *Mounted) refusePoll() error {
	fd, err := unix.Open(f.Path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return errors.Join(err, unix.Close(fd))
}

// watch lets a shell give up the mount when this process is killed: a thread
// of it that waits for an answer of its own could never end. The signal comes
// with the end of the thread that starts the shell (prctl(2),
// PR_SET_PDEATHSIG).
func (f *Mounted) watch() error {
	f.watcher = exec.Command("sh", "-c", `trap 'kill $!; umount -f "$0" 2>/dev/null; exit' TERM; sleep infinity & wait`, f.Path)
	f.watcher.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true} // not to be hit by a Ctrl-C for us
	return f.watcher.Start()
}

func (f *Mounted) unmount(t testing.TB) {
	err := unix.Unmount(f.Path, 0)
	for try := 0; err == unix.EBUSY && try < 500; try++ { // a loop device lets go of it a little later
		time.Sleep(10 * time.Millisecond)
		err = unix.Unmount(f.Path, 0)
	}
	if err != nil {
		t.Errorf("unmounting %s: %v", f.Path, err)
		_ = unix.Unmount(f.Path, unix.MNT_FORCE|unix.MNT_DETACH) // lets what waits for an answer fail
	}
	f.serv.Wait()
	err = f.watcher.Process.Signal(syscall.SIGTERM)
	_ = f.watcher.Wait() // it was told to end
	if err := errors.Join(err, unix.Close(f.dev)); err != nil {
		t.Error(err)
	}
}

// Swap puts another drive, of the same size, behind the file. Nobody must
// have it open.
func (f *Mounted) Swap(m *Memory) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.m = m
}

func (f *Mounted) drive() *Memory {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.m
}
