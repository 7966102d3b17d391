package qemu

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sealbay/image/initramfs"
)

func TestReadAnswer(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range [][2]string{{"result.json", "{}"}, {"exit", "3\n"}} {
		if err := w.WriteHeader(&tar.Header{Name: f[0], Mode: 0o644, Size: int64(len(f[1]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	read := func(data []byte) (Answer, error) { return parseAnswer(bytes.NewReader(data)) }
	a, err := read(b.Bytes())
	if err != nil || a.Exit != 3 || string(a.Files["result.json"]) != "{}" {
		t.Errorf("%+v, %v", a, err)
	}
	exit := bytes.Index(b.Bytes(), []byte("3\n"))
	for n := range exit + 1 { // a machine that died after n bytes
		if _, err := read(b.Bytes()[:n]); !errors.Is(err, ErrNoAnswer) {
			t.Fatalf("%d bytes of the answer: %v", n, err)
		}
	}
	bad := bytes.Clone(b.Bytes())
	bad[exit] = 'x'
	if _, err := read(bad); err == nil || !strings.Contains(err.Error(), `exit code is "x\n"`) {
		t.Errorf("no number: %v", err)
	}
}

func TestUnixLines(t *testing.T) {
	const text = "one\r\ntwo\r\n\rover\rwritten\r\n"
	for cut := range len(text) {
		var b strings.Builder
		w := &unixLines{w: &b}
		for _, part := range []string{text[:cut], text[cut:]} {
			if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
				t.Fatal(n, err)
			}
		}
		if want := "one\ntwo\n\rover\rwritten\n"; b.String() != want {
			t.Errorf("cut at %d: %q", cut, b.String())
		}
	}
}

// TestVersion: a QEMU that corrupts its guests is refused by name.
func TestVersion(t *testing.T) {
	for printed, wrong := range map[string]string{
		"QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)": "QEMU 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18) corrupts guests",
		"QEMU emulator version 9.2.0":                                 "QEMU 9.2.0 corrupts guests under software emulation: 10 or newer is needed, run scripts/setup.sh",
		"QEMU emulator version 10.0.2":                                "",
		"QEMU emulator version 11.1":                                  "",
		"something else":                                              `printed "something else"`,
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, binary), []byte("#!/bin/sh\necho '"+printed+"'\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", dir)
		_, err := checkVersion(t.Context())
		if (wrong == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), wrong) {
			t.Errorf("%s: %v, want %q", printed, err, wrong)
		}
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := checkVersion(t.Context()); err == nil || !strings.Contains(err.Error(), "Debian package qemu-system-x86") {
		t.Errorf("none: %v", err)
	}
}

// TestKVMHangs: where KVM is there but runs no kernel, the trial ends in time
// and emulation is taken; the finding is kept for this boot and this QEMU.
func TestKVMHangs(t *testing.T) {
	dir := t.TempDir()
	fake := "#!/bin/sh\n[ \"$1\" = --version ] && echo 'QEMU emulator version 10.0.2' && exit 0\nexec sleep 60\n"
	for name, text := range map[string]string{binary: fake, "kvm": "", "initramfs.cpio": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	if err := tryKVM(t.Context(), dir, filepath.Join(dir, "kvm")); err == nil || !strings.Contains(err.Error(), "did not end within 5s") {
		t.Errorf("a trial that hangs: %v", err)
	}
	if err := tryKVM(t.Context(), dir, filepath.Join(dir, "none")); err == nil || !strings.Contains(err.Error(), "none: no such file") {
		t.Errorf("a host without KVM: %v", err)
	}
	kept := filepath.Join(dir, "out", "accel")
	accel, why, err := PickAccel(t.Context(), dir, kept)
	if err != nil || accel != TCG || !strings.HasPrefix(why, "KVM: ") {
		t.Errorf("%s because %q, %v", accel, why, err)
	}
	start := time.Now()
	if again, whyAgain, err := PickAccel(t.Context(), dir, kept); err != nil || again != accel || whyAgain != why || time.Since(start) > 2*time.Second {
		t.Errorf("the second time after %v: %s because %q, %v", time.Since(start), again, whyAgain, err)
	}
}

const builtImage = "../../out/image"

// start boots the image with files added and returns what it answered and
// printed.
func start(t *testing.T, m Machine, files ...initramfs.File) (Answer, string, error) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(builtImage, "initramfs.cpio")); err != nil {
		t.Fatalf("%v: run make image", err)
	}
	m.Image, m.Extra = builtImage, filepath.Join(t.TempDir(), "extra.cpio")
	f, err := os.Create(m.Extra)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(initramfs.Write(f, files), f.Close()); err != nil {
		t.Fatal(err)
	}
	var console strings.Builder
	m.Console = &console
	accel, _, err := PickAccel(t.Context(), builtImage, "../../out/accel")
	if err != nil {
		t.Fatal(err)
	}
	answer, err := m.Run(t.Context(), accel)
	return answer, console.String(), err
}

func jobFile(lines ...string) initramfs.File {
	return initramfs.File{Name: "/etc/sealbay/test.job", Mode: 0o644, Data: []byte(strings.Join(lines, "\n") + "\n")}
}

// TestJob boots with a boot drive: the job's commands run in order and as
// asked, the first failure ends it, its exit code and the files it put come
// back, and what it wrote to /perm is on the drive after a clean unmount.
func TestJob(t *testing.T) {
	boot := filepath.Join(t.TempDir(), "boot, with a comma.img")
	if err := BootDrive(t.Context(), boot, 32<<20); err != nil {
		t.Fatal(err)
	}
	m := Machine{Cmdline: []string{"sealbay.job=test"}, Limit: 2 * time.Minute, Drives: []Drive{{Path: boot, Bus: AHCI, Serial: "B"}}}
	answer, console, err := start(t, m,
		initramfs.File{Name: "/etc/words", Mode: 0o644, Data: []byte("kept in /perm")},
		jobFile("cd /perm", "dd if=/etc/words of=words", "set COLOUR green",
			`gosh -c "echo colour: $COLOUR; ls -l /; cat /proc/mounts /proc/swaps /proc/sys/kernel/core_pattern; sleep 1000 &"`,
			"put words /proc/cmdline", `gosh -c "exit 7"`, "put /etc/words"))
	if err != nil {
		t.Fatalf("%v\n%s", err, console)
	}
	if answer.Exit != 7 || string(answer.Files["words"]) != "kept in /perm" || !strings.Contains(string(answer.Files["cmdline"]), "TERM=dumb") || len(answer.Files) != 2 {
		t.Errorf("%d, %q", answer.Exit, answer.Files)
	}
	for _, want := range []string{
		"colour: green\n", "state is on /dev/sda1, mounted at /perm", "/dev/sda1 /perm ext4 rw,nosuid,nodev,noexec,noatime",
		`FAILED: job test, command 6 (gosh -c exit 7): exit status 7`, "power off",
	} {
		if !strings.Contains(console, want) {
			t.Errorf("the console does not show %q:\n%s", want, console)
		}
	}
	judgeBootDrive(t, boot)
}

// judgeBootDrive lets e2fsprogs look at the drive that the machine left.
func judgeBootDrive(t *testing.T, boot string) {
	t.Helper()
	at := boot + "?offset=1048576"
	if out, err := exec.Command("e2fsck", "-fn", at).CombinedOutput(); err != nil {
		t.Errorf("e2fsck: %v: %s", err, out)
	}
	out, err := exec.Command("debugfs", "-R", "show_super_stats -h", at).CombinedOutput()
	if err != nil || strings.Contains(string(out), "needs_recovery") || !strings.Contains(string(out), "Filesystem state:         clean") {
		t.Errorf("not unmounted cleanly: %v: %s", err, out)
	}
	out, err = exec.Command("debugfs", "-R", "cat words", at).Output()
	if err != nil || string(out) != "kept in /perm" {
		t.Errorf("words: %q, %v", out, err)
	}
}

// TestPanic: a machine that dies is seen to die, at once.
func TestPanic(t *testing.T) {
	m := Machine{Cmdline: []string{"sealbay.perm=none", "sealbay.job=test"}, Limit: 2 * time.Minute}
	_, console, err := start(t, m, initramfs.File{Name: "/etc/c", Mode: 0o644, Data: []byte("c")},
		jobFile("dd if=/etc/c of=/proc/sysrq-trigger"))
	if !errors.Is(err, ErrNoAnswer) || !strings.Contains(console, "Kernel panic") {
		t.Errorf("%v\n%s", err, console)
	}
}

func TestLimit(t *testing.T) {
	m := Machine{Limit: time.Second}
	if _, _, err := start(t, m, jobFile()); err == nil || !strings.Contains(err.Error(), "did not end within 1s") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (Machine{Image: builtImage, Limit: time.Minute, Console: new(strings.Builder)}).Run(ctx, TCG); err == nil {
		t.Error("a cancelled start ended well")
	}
}
