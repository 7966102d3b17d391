package probe_test

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"sealbay/bench/probe"
	"sealbay/blockcrypt/blockdev"
	"sealbay/blockcrypt/blockdev/direct"
)

// TestMain also is the processes that the tests start.
func TestMain(m *testing.M) {
	var err error
	switch os.Getenv("PROBE_TEST_HELPER") {
	case "":
		os.Exit(m.Run())
	case "open":
		_, err = probe.Open(probe.Options{Path: os.Args[1]})
	case "read":
		err = readBlocksWatched(os.Args[1], 1<<40)
	case "match":
		err = readBlocksWatched(os.Args[1], 1000)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func readBlocksWatched(path string, n int) error {
	p, err := probe.Open(probe.Options{Path: path})
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	dev, err := direct.Open(path, direct.Options{})
	if err != nil {
		return err
	}
	fmt.Println("reading")
	matched := 0
	if err := run(p, dev, blockdev.Read, 1, 4096, n, func(r *blockdev.Request, k probe.KernelStamps) {
		if _, fault := probe.Divide(r.Stamps, k); fault == probe.NoFault {
			matched++
		}
	}); err != nil {
		return err
	}
	fmt.Println("pid", os.Getpid(), "matched", matched >= n*98/100)
	return nil
}

// objects lists the BPF programs, maps and links on this machine that bear our
// names (the kernel cuts them to 15 letters). Other processes may have some.
func objects(t testing.TB) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	for id := ebpf.ProgramID(0); ; {
		next, err := ebpf.ProgramGetNextID(id)
		if errors.Is(err, os.ErrNotExist) {
			break
		}
		must(t, err)
		id = next
		prog, err := ebpf.NewProgramFromID(id)
		if errors.Is(err, os.ErrNotExist) {
			continue // gone in the meantime
		}
		must(t, err)
		info, err := prog.Info()
		must(t, err)
		must(t, prog.Close())
		if strings.HasPrefix(info.Name, "on_") || info.Name == "whoami" {
			found[fmt.Sprint("program ", id)] = true
		}
	}
	for id := ebpf.MapID(0); ; {
		next, err := ebpf.MapGetNextID(id)
		if errors.Is(err, os.ErrNotExist) {
			break
		}
		must(t, err)
		id = next
		m, err := ebpf.NewMapFromID(id)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		must(t, err)
		info, err := m.Info()
		must(t, err)
		must(t, m.Close())
		switch info.Name {
		case "slots", "threads", "owners", "bios", "lives", "histograms", "bio_starts":
			found[fmt.Sprint("map ", id)] = true
		}
	}
	for id := range links(t) {
		found[fmt.Sprint("link ", id)] = true
	}
	return found
}

// links lists all BPF links. One that is just going away makes the kernel say
// "try again".
func links(t testing.TB) map[link.ID]bool {
	t.Helper()
	for {
		found, all := map[link.ID]bool{}, new(link.Iterator)
		for all.Next() {
			found[all.ID] = true
		}
		err := all.Err()
		all.Close()
		if !errors.Is(err, syscall.EAGAIN) {
			must(t, err)
			return found
		}
		time.Sleep(time.Millisecond)
	}
}

// appeared returns what is there now and was not before.
func appeared(t testing.TB, before map[string]bool) map[string]bool {
	t.Helper()
	now := objects(t)
	maps.DeleteFunc(now, func(o string, _ bool) bool { return before[o] })
	return now
}

// kinds counts objects by kind.
func kinds(objects map[string]bool) map[string]int {
	n := map[string]int{}
	for o := range objects {
		kind, _, _ := strings.Cut(o, " ")
		n[kind]++
	}
	return n
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// settles waits until all of those objects are gone. The kernel frees them a
// little after their last user; those of other tests go too, with their tests.
func settles(t *testing.T, those map[string]bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		now := objects(t)
		maps.DeleteFunc(those, func(o string, _ bool) bool { return !now[o] })
		if len(those) == 0 {
			return
		}
	}
	t.Errorf("BPF objects left: %v", those)
}

func TestCloseFreesEverything(t *testing.T) {
	path := loopDevice(t, 1<<20)
	before := objects(t)
	p, err := probe.Open(probe.Options{Path: path})
	must(t, err)
	l, err := probe.OpenLive(path)
	must(t, err)
	during := appeared(t, before)
	if n := kinds(during); n["program"] < 10 || n["map"] < 7 || n["link"] < 9 {
		t.Errorf("with a probe and a live histogram: %v", n)
	}
	must(t, p.Pause())
	paused := objects(t)
	maps.DeleteFunc(paused, func(o string, _ bool) bool { return !during[o] })
	if n := kinds(during)["link"]; kinds(paused)["link"] > n-6 {
		t.Errorf("%d links while paused, %d before", kinds(paused)["link"], n)
	}
	must(t, p.Close())
	must(t, p.Close())
	must(t, l.Close())
	settles(t, during)
}

// TestKillLeaksNothing kills a process that holds a probe in the middle of
// its I/O.
func TestKillLeaksNothing(t *testing.T) {
	path := loopDevice(t, 1<<20)
	before := objects(t)
	cmd := exec.Command("/proc/self/exe", path)
	cmd.Env = append(os.Environ(), "PROBE_TEST_HELPER=read")
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "reading\n" {
		t.Fatalf("the helper said %q: %v", line, err)
	}
	during := appeared(t, before)
	if n := kinds(during); n["program"] < 6 || n["map"] < 4 || n["link"] < 6 {
		t.Errorf("the helper has %v", n)
	}
	must(t, cmd.Process.Signal(syscall.SIGKILL))
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) {
		t.Fatalf("the helper ended with %v", err)
	}
	settles(t, during)
}

// TestWithoutPrivileges opens a probe as nobody.
func TestWithoutPrivileges(t *testing.T) {
	path := loopDevice(t, 1<<20)
	cmd := exec.Command("/proc/self/exe", path)
	cmd.Env = append(os.Environ(), "PROBE_TEST_HELPER=open")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Error("opened without privileges")
	}
	want := "kernel probes are not available: missing CAP_BPF and CAP_PERFMON (run as root) (operation not permitted)\n"
	if !strings.Contains(string(out), want) {
		t.Errorf("said %s, want %q", out, want)
	}
}

// TestInPIDNamespace reads as the first process of a namespace of its own, as
// in a container.
func TestInPIDNamespace(t *testing.T) {
	path := loopDevice(t, 1<<20)
	cmd := exec.Command("/proc/self/exe", path)
	cmd.Env = append(os.Environ(), "PROBE_TEST_HELPER=match")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	out, err := cmd.CombinedOutput()
	if want := "reading\npid 1 matched true\n"; err != nil || string(out) != want {
		t.Errorf("said %q, %v; want %q", out, err, want)
	}
}
