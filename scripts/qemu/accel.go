package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const binary = "qemu-system-x86_64"

// minVersion: QEMU 7.2 corrupted guests under software emulation in 10 of 27
// boots, 10.0 in none of 16.
const minVersion = 10

// Accel is how the machine's processor is run.
type Accel string

// The accelerators.
const (
	KVM Accel = "kvm" // the host's own processor
	TCG Accel = "tcg" // software emulation
)

// args: emulation runs its processors in turn, on one thread. On several, one
// boot in about 25 ended in QEMU's assertion iotlb_to_section (its issue
// 1921): a processor writes to a device while another moves the device's memory.
func (a Accel) args() []string {
	if a == KVM {
		return []string{"-accel", "kvm", "-cpu", "host"}
	}
	return []string{"-accel", "tcg,thread=single", "-cpu", "max"}
}

// trialLimit is how long the trial under KVM may take to boot: it needs about
// a second where KVM is any good, and hangs on some hosts where it is not.
const trialLimit = 5 * time.Second

// PickAccel returns KVM if the image boots under it, else TCG, and why. The
// finding is kept in the file kept, for as long as host and QEMU stay the
// same. It refuses a QEMU that is too old.
func PickAccel(ctx context.Context, image, kept string) (Accel, string, error) {
	version, err := checkVersion(ctx)
	if err != nil {
		return "", "", err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", "", err
	}
	key := strings.TrimSpace(string(boot)) + " " + version
	if text, err := os.ReadFile(kept); err == nil {
		if found, ok := strings.CutPrefix(string(text), key+"\n"); ok {
			accel, why, _ := strings.Cut(found, " ")
			return Accel(accel), why, nil
		}
	}
	accel, why := KVM, "a trial boot ended well"
	if err := tryKVM(ctx, image, "/dev/kvm"); err != nil {
		accel, why = TCG, fmt.Sprintf("KVM: %v", err)
	}
	if ctx.Err() != nil {
		return "", "", ctx.Err()
	}
	if err := os.MkdirAll(filepath.Dir(kept), 0o755); err != nil {
		return "", "", err
	}
	return accel, why, os.WriteFile(kept, []byte(key+"\n"+string(accel)+" "+why), 0o644)
}

func tryKVM(ctx context.Context, image, device string) error {
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	f.Close()
	m := Machine{Image: image, Cmdline: []string{"sealbay.perm=none", "sealbay.job=hello"}, Console: io.Discard, Limit: trialLimit}
	answer, err := m.Run(ctx, KVM)
	if err == nil && answer.Exit != 0 {
		err = fmt.Errorf("exit code %d", answer.Exit)
	}
	if err != nil {
		return fmt.Errorf("trial boot: %w", err)
	}
	return nil
}

var versionLine = regexp.MustCompile(`^QEMU emulator version (([0-9]+)\.[^\n]*)`)

// checkVersion returns QEMU's version, or refuses it by name.
func checkVersion(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, binary, "--version").Output()
	if errors.Is(err, exec.ErrNotFound) {
		return "", fmt.Errorf("%s is missing (Debian package qemu-system-x86): run scripts/setup.sh", binary)
	}
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", binary, err)
	}
	m := versionLine.FindStringSubmatch(string(out))
	if m == nil {
		return "", fmt.Errorf("%s --version printed %q", binary, strings.TrimSpace(string(out)))
	}
	if major, err := strconv.Atoi(m[2]); err != nil || major < minVersion {
		return "", fmt.Errorf("QEMU %s corrupts guests under software emulation: %d or newer is needed, run scripts/setup.sh", m[1], minVersion)
	}
	return m[1], nil
}
