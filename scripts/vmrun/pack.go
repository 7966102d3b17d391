package main

import (
	"fmt"
	"os/exec"
	"path"
	"slices"
	"strings"

	"sealbay/image/initramfs"
)

// packPrograms returns the host's programs with the shared libraries they need.
func packPrograms(names []string) ([]initramfs.File, error) {
	var files []initramfs.File
	have := map[string]bool{}
	add := func(guest, host string) {
		if !have[guest] {
			have[guest] = true
			files = append(files, initramfs.File{Name: guest, Mode: 0o755, From: host})
		}
	}
	for _, name := range names {
		host, err := exec.LookPath(name)
		if err != nil {
			return nil, fmt.Errorf("%w: run scripts/setup.sh", err)
		}
		add(path.Join("/bin", path.Base(name)), host)
		libraries, err := sharedLibraries(host)
		if err != nil {
			return nil, err
		}
		for _, lib := range libraries {
			add(lib, lib)
		}
	}
	return files, nil
}

// sharedLibraries asks the dynamic linker what program loads (ldd(1)).
func sharedLibraries(program string) ([]string, error) {
	out, err := exec.Command("ldd", program).CombinedOutput()
	if strings.Contains(string(out), "not a dynamic executable") {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ldd %s: %w: %s", program, err, out)
	}
	var libs []string
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line) // "libc.so.6 => /lib/.../libc.so.6 (0x...)" or "/lib64/ld-... (0x...)"
		if slices.Contains(words, "not") {
			return nil, fmt.Errorf("ldd %s: %s", program, strings.TrimSpace(line))
		}
		if i := slices.IndexFunc(words, func(w string) bool { return strings.HasPrefix(w, "/") }); i >= 0 {
			libs = append(libs, words[i])
		}
	}
	return libs, nil
}
