package main

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/rogpeppe/go-internal/testscript"

	"sealbay/blockcrypt/blocktest"
)

// sealbench builds the program that counts and returns its folder.
func sealbench(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	blocktest.Command(t, "golang-go", "go", "build", "-o", dir, "sealbay/bench/cmd/sealbench")
	return dir
}

func loop(t *testing.T) string {
	t.Helper()
	return blocktest.Loop(t, blocktest.File(t, blocktest.Tmpfs(t), 4<<20), 4096)
}

// TestProbeScripts runs what stands in testdata/probe against the real daemon,
// the real sealbench and real block devices.
func TestProbeScripts(t *testing.T) {
	bench := sealbench(t)
	first, second := loop(t), loop(t)
	p := params("testdata/probe")
	setup := p.Setup
	p.Setup = func(e *testscript.Env) error {
		// Each script has a program of its own, to tell its processes by.
		mine := filepath.Join(e.WorkDir, "bench")
		e.Setenv("NOBENCH", e.Getenv("PATH"))
		e.Setenv("PATH", mine+":"+e.Getenv("PATH"))
		e.Setenv("LOOP", first)
		e.Setenv("LOOP2", second)
		return errors.Join(setup(e), os.Mkdir(mine, 0o755), os.Link(filepath.Join(bench, "sealbench"), filepath.Join(mine, "sealbench")))
	}
	// probes waits until that many processes count: probes N
	p.Cmds["probes"] = func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 1 {
			ts.Fatalf("usage: probes N")
		}
		if got := strconv.Itoa(len(running(t, ts.MkAbs("bench/sealbench")))); got != args[0] {
			ts.Fatalf("%s processes count, not %s", got, args[0])
		}
	}
	p.Cmds["killprobes"] = func(ts *testscript.TestScript, neg bool, args []string) {
		pids := running(t, ts.MkAbs("bench/sealbench"))
		if neg || len(args) > 0 || len(pids) == 0 {
			ts.Fatalf("usage: killprobes, while there are any")
		}
		for _, pid := range pids {
			ts.Check(syscall.Kill(pid, syscall.SIGKILL))
		}
	}
	testscript.Run(t, p)
}

// running lists the processes that run the program.
func running(t *testing.T, program string) (pids []int) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if exe, err := os.Readlink(link); err == nil && exe == program {
			pid, err := strconv.Atoi(strings.Split(link, "/")[2])
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// product builds the daemon, qq and what counts into one folder, as on the
// appliance.
func product(t *testing.T) (dir string) {
	t.Helper()
	dir = sealbench(t)
	blocktest.Command(t, "golang-go", "go", "build", "-o", dir, "sealbay/appliance/cmd/sealbayd", "sealbay/appliance/cmd/qq")
	return dir
}

// daemon starts the daemon in dir. It must find sealbench beside itself, for
// its PATH is empty.
func daemon(t *testing.T, dir, state string) (c *exec.Cmd, qq func(...string) string) {
	t.Helper()
	socket := filepath.Join(state, "rest.sock")
	c = exec.Command(filepath.Join(dir, "sealbayd"), "-state", filepath.Join(state, "state"), "-drives", filepath.Join(state, "nodrive*"), "-socket", socket)
	c.Env = []string{}
	stderr, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() }) // where the test did not
	for lines := bufio.NewScanner(stderr); !strings.Contains(lines.Text(), "serving"); {
		if !lines.Scan() {
			t.Fatalf("the daemon does not serve: %v", c.Wait())
		}
	}
	return c, func(args ...string) string {
		t.Helper()
		return blocktest.Command(t, "none: it is ours", filepath.Join(dir, "qq"), append([]string{"--socket-path", socket}, args...)...)
	}
}

// TestProbeLeavesNothing: neither process nor BPF program is left when a probe
// is stopped, and when the daemon ends or is killed.
func TestProbeLeavesNothing(t *testing.T) {
	device, dir := loop(t), product(t)
	for _, c := range []struct {
		name string
		end  func(*exec.Cmd, func(...string) string) error
	}{
		{"stop", func(_ *exec.Cmd, qq func(...string) string) error { qq("probe_stop"); return nil }},
		{"end", func(d *exec.Cmd, _ func(...string) string) error { return d.Process.Signal(syscall.SIGTERM) }},
		{"kill", func(d *exec.Cmd, _ func(...string) string) error { return d.Process.Kill() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, qq := daemon(t, dir, t.TempDir())
			qq("probe_start", "--device", device)
			pids := running(t, filepath.Join(dir, "sealbench"))
			if len(pids) != 1 {
				t.Fatalf("%d processes count, not one", len(pids))
			}
			programs := programsOf(t, pids[0])
			if len(programs) < 3 || len(left(t, programs)) != len(programs) {
				t.Fatalf("it has the BPF programs %v, of which the kernel has %v", programs, left(t, programs))
			}
			if err := c.end(d, qq); err != nil {
				t.Fatal(err)
			}
			// The kernel frees programs a little after their last user.
			for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
				pids, programs = running(t, filepath.Join(dir, "sealbench")), left(t, programs)
				if len(pids) == 0 && len(programs) == 0 {
					return
				}
			}
			t.Errorf("left: processes %v, BPF programs %v", pids, programs)
		})
	}
}

// programsOf lists the BPF programs that a process has open (proc_pid_fdinfo(5)).
func programsOf(t *testing.T, pid int) (ids []ebpf.ProgramID) {
	t.Helper()
	files, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/fdinfo/*")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // closed meanwhile
		}
		for line := range strings.Lines(string(text)) {
			if value, ok := strings.CutPrefix(line, "prog_id:"); ok && !seen[value] {
				seen[value] = true
				id, err := strconv.ParseUint(strings.TrimSpace(value), 10, 32)
				if err != nil {
					t.Fatal(err)
				}
				ids = append(ids, ebpf.ProgramID(id))
			}
		}
	}
	return ids
}

// left tells which of the programs the kernel still has.
func left(t *testing.T, ids []ebpf.ProgramID) (there []ebpf.ProgramID) {
	t.Helper()
	for _, id := range ids {
		prog, err := ebpf.NewProgramFromID(id)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		there = append(there, id)
		if err := prog.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return there
}
