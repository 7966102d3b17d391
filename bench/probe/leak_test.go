package probe_test

import (
	"bufio"
	"errors"
	"fmt"
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

// objects counts the BPF programs, maps and links that exist on this machine,
// ours by name (the kernel cuts names to 15 letters).
func objects(t testing.TB) map[string]int {
	t.Helper()
	n := map[string]int{}
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
			n["program"]++
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
			n["map"]++
		}
	}
	links := new(link.Iterator)
	defer links.Close()
	for links.Next() {
		n["link"]++
	}
	must(t, links.Err())
	return n
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// settles waits for the kernel, which frees BPF objects a little after their
// last user is gone.
func settles(t *testing.T, want map[string]int) {
	t.Helper()
	var got map[string]int
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if got = objects(t); fmt.Sprint(got) == fmt.Sprint(want) {
			return
		}
	}
	t.Errorf("BPF objects left: %v, before there were %v", got, want)
}

func TestCloseFreesEverything(t *testing.T) {
	path := loopDevice(t, 1<<20)
	before := objects(t)
	p, err := probe.Open(probe.Options{Path: path})
	must(t, err)
	if during := objects(t); during["program"] < before["program"]+6 || during["map"] < before["map"]+4 || during["link"] < before["link"]+6 {
		t.Errorf("with a probe: %v, before: %v", during, before)
	}
	must(t, p.Pause())
	if during := objects(t); during["link"] != before["link"] {
		t.Errorf("links while paused: %d, before: %d", during["link"], before["link"])
	}
	must(t, p.Close())
	must(t, p.Close())
	settles(t, before)
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
	if during := objects(t); during["program"] <= before["program"] {
		t.Errorf("the helper has no programs: %v, before: %v", during, before)
	}
	must(t, cmd.Process.Signal(syscall.SIGKILL))
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) {
		t.Fatalf("the helper ended with %v", err)
	}
	settles(t, before)
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
	want := "kernel probes are not available: missing CAP_BPF and CAP_PERFMON (run as root)"
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
