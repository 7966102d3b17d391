package uring

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blocktest"
)

// Faults of real targets: a loop device over a file that was cut answers EIO,
// the cut file itself a short read.
func TestFaultsOfRealTargets(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	file := blocktest.File(t, "", size)
	loop := blocktest.Loop(t, file, 512)
	onLoop, onFile := mustOpen(t, loop, Options{}), mustOpen(t, file, Options{})
	if err := os.Truncate(file, 1<<20); err != nil {
		t.Fatal(err)
	}
	failsAt8M(t, onLoop, unix.EIO, "input/output error")
	failsAt8M(t, onFile, blockdev.ErrShort, "short transfer")
}

func failsAt8M(t *testing.T, d blockdev.Device, want error, text string) {
	t.Helper()
	arena, err := blockdev.NewArena(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	good := &blockdev.Request{Op: blockdev.Read, Buf: arena.Cut(4096)}
	bad := &blockdev.Request{Op: blockdev.Read, Offset: 8 << 20, Buf: arena.Cut(4096)}
	q := run(t, d, []*blockdev.Request{good, bad})
	if good.Err != nil {
		t.Errorf("neighbour failed: %v", good.Err)
	}
	text = fmt.Sprintf("read %s at 8388608+4096: %s", d.Info().Path, text)
	if !errors.Is(bad.Err, want) || bad.Err.Error() != text {
		t.Errorf("got %v, want %s", bad.Err, text)
	}
	if err := errors.Join(q.Close(), d.Close(), arena.Close()); err != nil {
		t.Error(err)
	}
}

// A queue whose goroutine wandered to another thread must say so, and one
// opened for any thread must serve from all.
func TestThreads(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	d := mustOpen(t, blocktest.File(t, "", size), Options{})
	defer d.Close()
	for _, anyThread := range []bool{false, true} {
		q, err := d.OpenQueue(blockdev.QueueOptions{AnyThread: anyThread})
		if err != nil {
			t.Fatal(err)
		}
		failed := make(chan error)
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			r := requests(t)[:1]
			_, err := q.Submit(r)
			_, err2 := q.Reap(r, 1)
			failed <- errors.Join(err, err2, r[0].Err)
		}()
		err = <-failed
		if anyThread && err != nil {
			t.Errorf("any thread: %v", err)
		}
		if !anyThread && (err == nil || !strings.Contains(err.Error(), "must be locked")) {
			t.Errorf("another thread got %v", err)
		}
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Asking for io_uring opens and closes a ring on a goroutine that may meanwhile
// have moved to another thread.
func TestCloseOnAnotherThread(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r, err := newRing(1, 0)
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan error)
	go func() { closed <- r.close() }()
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// A wait of which the Go runtime was not told must end when the runtime wants
// the thread: to stop the world, or to let another goroutine run on the only
// processor.
func TestShortWaitLetsGo(t *testing.T) {
	for name, want := range map[string]func(){
		"stop the world": runtime.GC,
		"other goroutines": func() {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			for range 20 {
				runtime.Gosched()
			}
		},
	} {
		r, started, ended := (*ring)(nil), make(chan error, 1), make(chan error, 1)
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			var err error
			r, err = newRing(1, 0)
			started <- err
			if err == nil {
				ended <- errors.Join(r.enter(1, true), r.close()) // nothing will ever complete
			}
		}()
		if err := <-started; err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
		begin := time.Now()
		want()
		if took := time.Since(begin); took > time.Second {
			t.Errorf("%s took %v", name, took)
		}
		select {
		case err := <-ended:
			if !errors.Is(err, unix.EINTR) {
				t.Errorf("%s: the wait ended with %v, want EINTR", name, err)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("%s: the wait never ended", name)
		}
	}
}

// On a device that cannot take requests without blocking, depth 1 makes
// blocking calls, which the engine's name says.
func TestNoWait(t *testing.T) {
	for name, want := range map[string]string{"loop over file": "io_uring", "tmpfs": "io_uring, blocking at depth 1"} {
		d := mustOpen(t, targets[name](t), Options{})
		if got := d.Info().Engine; got != want {
			t.Errorf("%s: engine %q, want %q", name, got, want)
		}
		for _, depth := range []int{1, 2} {
			q, err := d.OpenQueue(blockdev.QueueOptions{Depth: depth})
			if err != nil {
				t.Fatal(err)
			}
			if _, ring := q.(*queue); ring != (want == "io_uring" || depth > 1) {
				t.Errorf("%s at depth %d: queue %T", name, depth, q)
			}
			if err := q.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

// rounds returns a function that sends depth requests of n bytes and reaps
// them.
func rounds(t testing.TB, path string, depth, n int, op blockdev.Op, flags blockdev.Flags) func() {
	d := mustOpen(t, path, Options{})
	arena, err := blockdev.NewArena(depth * n)
	if err != nil {
		t.Fatal(err)
	}
	q, err := d.OpenQueue(blockdev.QueueOptions{Depth: depth, Buffers: arena})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(q.Close(), d.Close(), arena.Close()); err != nil {
			t.Error(err)
		}
	})
	reqs, done := make([]*blockdev.Request, depth), make([]*blockdev.Request, depth)
	for i := range reqs {
		reqs[i] = &blockdev.Request{Op: op, Flags: flags, Offset: int64(i * n), Length: int64(n), Buf: arena.Cut(n)}
	}
	return func() {
		if k, err := q.Submit(reqs); k != depth || err != nil {
			t.Fatal(k, err)
		}
		if k, err := q.Reap(done, depth); k != depth || err != nil {
			t.Fatal(k, err)
		}
		for _, r := range done {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
	}
}

func TestNoAllocation(t *testing.T) {
	path := targets["loop over tmpfs"](t)
	for _, depth := range []int{1, 8} {
		for op := blockdev.Read; op <= blockdev.WriteZeroes; op++ {
			for flags := blockdev.Flags(0); flags <= blockdev.FUA; flags++ {
				t.Run(fmt.Sprintf("%v/depth %d/flags %d", op, depth, flags), func(t *testing.T) {
					runtime.LockOSThread()
					defer runtime.UnlockOSThread()
					if n := testing.AllocsPerRun(50, rounds(t, path, depth, 4096, op, flags)); n != 0 {
						t.Errorf("%v allocations per batch", n)
					}
				})
			}
		}
	}
}

func BenchmarkQueue(b *testing.B) {
	path := targets["loop over tmpfs"](b)
	for _, depth := range []int{1, 32} {
		b.Run(fmt.Sprintf("read/4096/depth%d", depth), func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			run := rounds(b, path, depth, 4096, blockdev.Read, 0)
			b.ReportAllocs()
			for b.Loop() {
				run()
			}
			if n := testing.AllocsPerRun(10, run); n != 0 {
				b.Errorf("%v allocations per batch", n)
			}
		})
	}
}

// A process that is killed at any moment leaves nothing behind: the drive can
// be taken again at once, its memory is given back, the loop device goes.
func TestKilledProcessLeavesNothing(t *testing.T) {
	path := targets["loop over file"](t)
	before := pinned(t)
	for i := range 10 {
		kill(t, path, time.Duration(i)*3*time.Millisecond)
		start := time.Now()
		if err := mustOpen(t, path, Options{}).Close(); err != nil {
			t.Error(err)
		}
		t.Logf("taken again after %v", time.Since(start))
	}
	// Each of the 10 had 16 MiB pinned; others on this machine may pin too.
	for wait := 0; pinned(t)-before > 80<<20; wait++ {
		if wait > 100 {
			t.Fatalf("%d MiB more are pinned than before", (pinned(t)-before)>>20)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

const helperEnv = "SEALBAY_TEST_LOAD"

func kill(t *testing.T, path string, after time.Duration) {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLoadHelper$")
	c.Env = append(os.Environ(), helperEnv+"="+path)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "running\n" {
		t.Fatalf("the process to be killed says %q, %v", line, err)
	}
	if n := pinned(t); n < 8<<20 { // 16 MiB, less what the processors have not summed up
		t.Fatalf("of the registered memory of a running process only %d KiB are counted as pinned", n>>10)
	}
	time.Sleep(after)
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the process ended by itself: %v", err)
	}
}

// TestLoadHelper is the process that TestKilledProcessLeavesNothing kills.
func TestLoadHelper(t *testing.T) {
	path := os.Getenv(helperEnv)
	if path == "" {
		return
	}
	runtime.LockOSThread()
	// The kernel counts a registered huge page once, not 512 times: with them,
	// 16 MiB would be lost in what the processors have not summed up.
	if err := unix.Prctl(unix.PR_SET_THP_DISABLE, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	load := rounds(t, path, 16, 1<<20, blockdev.Write, 0)
	load()
	fmt.Println("running")
	for start := time.Now(); time.Since(start) < time.Minute; { // should the killer be killed first
		load()
	}
}

// pinned is how much memory the kernel holds in place for I/O, in bytes.
func pinned(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/vmstat")
	if err != nil {
		t.Fatal(err)
	}
	var acquired, released int64 = -1, -1
	for _, line := range strings.Split(string(b), "\n") {
		_, _ = fmt.Sscanf(line, "nr_foll_pin_acquired %d", &acquired) // other lines do not match
		_, _ = fmt.Sscanf(line, "nr_foll_pin_released %d", &released)
	}
	if acquired < 0 || released < 0 {
		t.Fatal("/proc/vmstat does not count pinned pages")
	}
	return (acquired - released) * int64(os.Getpagesize())
}
