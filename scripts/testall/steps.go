package main

import (
	"fmt"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// step is one command of `make test`.
type step struct {
	name  string
	why   string
	limit time.Duration
	env   []string
	args  []string
	more  func() ([]string, error) // further args, or nil
	tests bool                     // prints `go test -json` events
}

// steps are in order: what is quick to fail comes first.
var steps = []step{
	{name: "vet", why: "go vet", limit: 5 * time.Minute, args: []string{"go", "vet", "./..."}},
	{name: "vet-vm", why: "go vet of what only builds for the machine", limit: 5 * time.Minute, args: []string{"go", "vet", "-tags", "vm"}, more: vmPackages},
	{name: "lint", why: "the rules of the house", limit: 5 * time.Minute, tests: true,
		args: goTest("./scripts/lint")},
	{name: "test", why: "every package on this machine", limit: 15 * time.Minute, tests: true,
		args: goTest("-p", "2", "-timeout", "10m", "./...")},
	{name: "vm", why: "inside the box's own kernel, in QEMU", limit: 15 * time.Minute, tests: true,
		args: vmTest("^TestVM"), more: vmArgs},
	{name: "image-6.1", why: "the oldest kernel that the probes work on, for the next step", limit: 5 * time.Minute,
		args: []string{"out/bin/mkimage", "-oldest", "-out", oldImage}},
	{name: "vm-6.1", why: "inside that kernel, in QEMU: probes and io_uring", limit: 5 * time.Minute, tests: true,
		args: vmTest("^TestVM(Stages|Live|LiveForeign|Lockdown|Drives|Interrupted)$"), more: oldVMArgs},
	{name: "firstrun", why: "a whole box: boot, keys, drives, bench", limit: 16 * time.Minute, args: []string{"out/bin/firstrun"}},
}

func goTest(args ...string) []string {
	return append([]string{"go", "test", "-json", "-count=1"}, args...)
}

// oldImage is the image of step image-6.1.
const oldImage = "out/image-6.1"

// vmTest runs one machine at a time.
func vmTest(tests string) []string { return goTest("-tags", "vm", "-p", "1", "-run", tests) }

// chosen returns the steps by name, or all.
func chosen(only string) ([]step, error) {
	if only == "" {
		return steps, nil
	}
	var picked []step
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(steps, func(s step) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no step %q", name)
		}
		picked = append(picked, steps[i])
	}
	return picked, nil
}

// vmPackages are the folders with tests for inside the machine.
func vmPackages() ([]string, error) {
	out, err := exec.Command("git", "-c", "safe.directory=*", "grep", "-l", "^//go:build vm$", "--", "*_test.go").Output()
	if err != nil {
		return nil, fmt.Errorf("looking for tests with the build tag vm: %w", err)
	}
	var dirs []string
	for file := range strings.FieldsSeq(string(out)) {
		dirs = append(dirs, "./"+path.Dir(file))
	}
	slices.Sort(dirs)
	return slices.Compact(dirs), nil
}

// vmArgs completes the command of the step vm.
func vmArgs() ([]string, error) {
	dirs, err := vmPackages()
	if err != nil {
		return nil, err
	}
	return inVM("out/image", dirs...)
}

// oldVMArgs completes the command of the step vm-6.1.
func oldVMArgs() ([]string, error) {
	return inVM(oldImage, "./bench/probe", "./blockcrypt/blockdev/uring")
}

// inVM has go test run those packages inside an image. It runs vmrun in the
// package's folder, so paths must be absolute.
func inVM(image string, packages ...string) ([]string, error) {
	top, err := filepath.Abs(".")
	if err != nil {
		return nil, err
	}
	vmrun := filepath.Join(top, "out/bin/vmrun") + " -pack cryptsetup,dmsetup -image " + filepath.Join(top, image)
	return append([]string{"-exec", vmrun}, packages...), nil
}
