package kernel

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// genericKernel matches Debian's generic packages of a series, those of
// backports or of newer releases (+deb12) and those of Debian 12 itself (-56): no
// cloud, no rt flavour, no debug symbols.
func genericKernel(series string) string {
	return `^linux-image-` + regexp.QuoteMeta(series) + `[.][0-9.]+([+]deb[0-9.]+|-[0-9]+)-amd64$`
}

// aptHas says whether apt's index holds exactly this package.
func aptHas(ctx context.Context, l Lock) bool {
	out, err := exec.CommandContext(ctx, "apt-cache", "show", l.Package+"="+l.Version).Output()
	return err == nil && slices.ContainsFunc(parseIndex(string(out)), func(have Lock) bool {
		return have.SHA256 == l.SHA256
	})
}

// aptNewest returns the newest generic kernel of a series that apt's signed
// index offers.
func aptNewest(ctx context.Context, series string) (Lock, error) {
	out, err := exec.CommandContext(ctx, "apt-cache", "search", "--names-only", genericKernel(series)).Output()
	if err != nil {
		return Lock{}, fmt.Errorf("asking apt for a %s kernel: %w", series, err)
	}
	var names []string
	for line := range strings.Lines(string(out)) {
		names = append(names, strings.Fields(line)[0])
	}
	if len(names) == 0 {
		return Lock{}, fmt.Errorf("apt offers no generic %s kernel: run scripts/setup.sh", series)
	}
	out, err = exec.CommandContext(ctx, "apt-cache", append([]string{"show"}, names...)...).Output()
	if err != nil {
		return Lock{}, fmt.Errorf("apt-cache show: %w", err)
	}
	return newest(parseIndex(string(out)))
}

// newest picks the highest version.
func newest(found []Lock) (Lock, error) {
	if len(found) == 0 {
		return Lock{}, errors.New("apt names such kernels but offers none to download")
	}
	return slices.MaxFunc(found, func(a, b Lock) int {
		return cmp.Or(slices.Compare(numbers(a.Package), numbers(b.Package)), slices.Compare(numbers(a.Version), numbers(b.Version)))
	}), nil
}

var digits = regexp.MustCompile(`[0-9]+`)

// numbers are the numbers in a version, which order Debian's kernels rightly:
// 6.12.9 before 6.12.73.
func numbers(s string) []int {
	var n []int
	for _, d := range digits.FindAllString(s, -1) {
		i, _ := strconv.Atoi(d) // digits only; one too large for an int sorts as the largest
		n = append(n, i)
	}
	return n
}

// parseIndex reads the stanzas of apt-cache show that can be downloaded.
func parseIndex(text string) []Lock {
	var found []Lock
	for stanza := range strings.SplitSeq(text, "\n\n") {
		var l Lock
		for line := range strings.Lines(stanza) {
			key, value, _ := strings.Cut(line, ":")
			switch value = strings.TrimSpace(value); key {
			case "Package":
				l.Package = value
			case "Version":
				l.Version = value
			case "Source":
				l.Source = value
			case "Filename":
				l.Path = value
			case "Size":
				l.Size, _ = strconv.ParseInt(value, 10, 64) // 0 fails the check below
			case "SHA256":
				l.SHA256 = value
			}
		}
		if l.Package != "" && l.Version != "" && l.Size > 0 && len(l.SHA256) == 64 {
			found = append(found, l)
		}
	}
	return found
}

// aptDownload lets the machine's own apt fetch the package into dir, then
// checks it against the lock.
func aptDownload(ctx context.Context, l Lock, dir string) (string, error) {
	// The user _apt cannot write to dir; as root apt need not change user.
	cmd := exec.CommandContext(ctx, "apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", l.Package+"="+l.Version)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("apt-get download %s: %w: %s", l.Package, err, bytes.TrimSpace(out))
	}
	debs, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(debs) != 1 {
		return "", fmt.Errorf("apt-get download %s left %d files", l.Package, len(debs))
	}
	return debs[0], verify(debs[0], l)
}
