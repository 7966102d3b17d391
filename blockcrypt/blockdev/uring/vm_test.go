//go:build vm

package uring

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blocktest"
)

func requireVM(t *testing.T) {
	t.Helper()
	if os.Getenv("SEALBAY_VM") == "" {
		t.Fatal("runs inside the appliance's kernel only: make test-vm")
	}
}

// suite runs the Suite on path and asks the engine to be what was wanted.
func suite(t *testing.T, path, engine string, o Options) {
	t.Helper()
	blocktest.Suite(t, func(t *testing.T) blockdev.Device {
		d := mustOpen(t, path, o)
		if got := d.Info().Engine; got != engine {
			t.Fatalf("engine %q, want %q", got, engine)
		}
		return d
	})
}

// TestVMDrives holds the engine against real drivers.
func TestVMDrives(t *testing.T) {
	requireVM(t)
	for _, path := range []string{"/dev/vda", "/dev/nvme0n1", "/dev/sda"} {
		t.Run(path, func(t *testing.T) { suite(t, path, "io_uring", Options{}) })
	}
	for _, f := range Features() {
		t.Logf("%s (%s): %v", f.Name, f.Since, f.Answer)
	}
}

// TestVMInterrupted closes queues while signals rain on the process, as the Go
// runtime's may: the drive must be free at once.
func TestVMInterrupted(t *testing.T) {
	requireVM(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	thread, stop, stopped := unix.Gettid(), make(chan struct{}), make(chan error)
	go func() {
		var err error
		for err == nil {
			select {
			case <-stop:
				stopped <- nil
				return
			case <-time.After(20 * time.Microsecond):
				err = unix.Tgkill(os.Getpid(), thread, unix.SIGURG)
			}
		}
		stopped <- err
	}()
	for range 10 {
		began := time.Now()
		d := mustOpen(t, "/dev/vda", Options{}) // waits a second for the last round's to be gone
		if took := time.Since(began); took > 500*time.Millisecond {
			t.Errorf("opening took %v", took)
		}
		useOnce(t, d)
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// useOnce opens a queue, fills it and closes it.
func useOnce(t *testing.T, d blockdev.Device) {
	t.Helper()
	const depth = 8
	arena, err := blockdev.NewArena(depth << 12)
	if err != nil {
		t.Fatal(err)
	}
	q, err := d.OpenQueue(blockdev.QueueOptions{Depth: depth, Buffers: arena})
	if err != nil {
		t.Fatal(err)
	}
	reqs := make([]*blockdev.Request, depth)
	for i := range reqs {
		reqs[i] = &blockdev.Request{Op: blockdev.Write, Offset: int64(i) << 12, Buf: arena.Cut(1 << 12)}
	}
	if n, err := q.Submit(reqs); n != depth || err != nil {
		t.Errorf("submitted %d: %v", n, err)
	}
	if err := errors.Join(q.Close(), arena.Close()); err != nil {
		t.Error(err)
	}
}

// TestVMNVMe sends the drive its own commands, polls it, and does both.
func TestVMNVMe(t *testing.T) {
	requireVM(t)
	t.Run("commands", func(t *testing.T) { suite(t, "/dev/nvme0n1", "io_uring+nvme", Options{Passthrough: true}) })
	t.Run("not offered", func(t *testing.T) {
		var log bytes.Buffer
		o := Options{Poll: true, Passthrough: true, Log: slog.New(slog.NewTextHandler(&log, nil))}
		d := mustOpen(t, "/dev/vda", o)
		defer d.Close()
		if got := d.Info().Engine; got != "io_uring" {
			t.Errorf("engine %q", got)
		}
		for _, want := range []string{"no queues that can be polled", "not a whole NVMe namespace"} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("the log lacks %q: %s", want, &log)
			}
		}
	})
	reload(t, "nvme", "poll_queues=1")
	t.Run("polled", func(t *testing.T) { suite(t, "/dev/nvme0n1", "io_uring+poll", Options{Poll: true}) })
	t.Run("commands, polled", func(t *testing.T) {
		suite(t, "/dev/nvme0n1", "io_uring+nvme+poll", Options{Poll: true, Passthrough: true})
	})
}

// reload loads a kernel module again with a parameter.
func reload(t *testing.T, module, parameter string) {
	t.Helper()
	found, err := filepath.Glob("/lib/modules/*/kernel/drivers/*/host/" + module + ".ko*")
	if err != nil || len(found) != 1 {
		t.Fatalf("module %s: %v, %v", module, found, err)
	}
	f, err := os.Open(found[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.DeleteModule(module, 0); err != nil {
		t.Fatalf("unloading %s: %v", module, err)
	}
	flags := 0
	if filepath.Ext(found[0]) != ".ko" {
		flags = 4 // MODULE_INIT_COMPRESSED_FILE
	}
	if err := unix.FinitModule(int(f.Fd()), parameter, flags); err != nil {
		t.Fatalf("loading %s %s: %v", module, parameter, err)
	}
	waitFor(t, "/dev/nvme0n1")
}

func waitFor(t *testing.T, path string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			return
		}
	}
	t.Fatalf("%s did not come back", path)
}

// TestVMDeviceGone pulls the NVMe drive out from under a load: every request
// in flight comes back, from then on with an error, and nothing hangs.
func TestVMDeviceGone(t *testing.T) {
	requireVM(t)
	for name, o := range map[string]Options{"block": {}, "commands": {Passthrough: true}} {
		t.Run(name, func(t *testing.T) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			d := mustOpen(t, "/dev/nvme0n1", o)
			pci, err := filepath.EvalSymlinks("/sys/class/nvme/nvme0/device")
			if err != nil {
				t.Fatal(err)
			}
			time.AfterFunc(300*time.Millisecond, func() { set(t, pci+"/remove") })
			untilGone(t, d)
			if err := d.Close(); err != nil {
				t.Error(err)
			}
			set(t, "/sys/bus/pci/rescan")
			waitFor(t, "/dev/nvme0n1")
			if err := mustOpen(t, "/dev/nvme0n1", o).Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func set(t *testing.T, path string) {
	if err := os.WriteFile(path, []byte("1"), 0); err != nil {
		t.Error(err)
	}
}

// untilGone keeps 32 writes in flight until 100 in a row have failed.
func untilGone(t *testing.T, d blockdev.Device) {
	t.Helper()
	arena, err := blockdev.NewArena(32 << 16)
	if err != nil {
		t.Fatal(err)
	}
	q, err := d.OpenQueue(blockdev.QueueOptions{Depth: 32, Buffers: arena})
	if err != nil {
		t.Fatal(err)
	}
	reqs, done := make([]*blockdev.Request, 32), make([]*blockdev.Request, 32)
	for i := range reqs {
		reqs[i] = &blockdev.Request{Op: blockdev.Write, Offset: int64(i) << 16, Buf: arena.Cut(1 << 16)}
	}
	good, bad := 0, 0
	for end := time.Now().Add(time.Minute); bad < 100; {
		if n, err := q.Submit(reqs); n != 32 || err != nil {
			t.Fatalf("submitted %d: %v", n, err)
		}
		if n, err := q.Reap(done, 32); n != 32 || err != nil {
			t.Fatalf("reaped %d: %v", n, err)
		}
		for _, r := range done {
			if bad++; r.Err == nil {
				good, bad = good+1, 0
			}
		}
		if time.Now().After(end) {
			t.Fatalf("the drive is gone and writes still succeed: %d", good)
		}
	}
	t.Logf("%d writes before, then %v", good, done[0].Err)
	if err := errors.Join(q.Close(), arena.Close()); err != nil || good == 0 {
		t.Errorf("%d good writes, closing: %v", good, err)
	}
}
