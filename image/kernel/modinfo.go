package kernel

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Info is what a module says of itself in its .modinfo section.
type Info struct {
	Depends []string // modules it cannot load without
	Soft    []string // modules or aliases to load before it where they exist (softdep pre), as written
	Aliases []string // patterns of the devices and services it is for
}

// readInfo reads the .modinfo of a .ko or .ko.xz file.
func readInfo(path string) (Info, error) {
	object, err := os.ReadFile(path)
	if err != nil {
		return Info{}, err
	}
	if filepath.Ext(path) == ".xz" {
		cmd := exec.Command("xz", "-dc")
		cmd.Stdin = bytes.NewReader(object)
		if object, err = cmd.Output(); err != nil {
			return Info{}, fmt.Errorf("%s: xz: %w", path, err)
		}
	}
	e, err := elf.NewFile(bytes.NewReader(object))
	if err != nil {
		return Info{}, fmt.Errorf("%s: %w", path, err)
	}
	section := e.Section(".modinfo")
	if section == nil {
		return Info{}, fmt.Errorf("%s: no .modinfo section: not a kernel module", path)
	}
	data, err := section.Data()
	if err != nil {
		return Info{}, fmt.Errorf("%s: %w", path, err)
	}
	return parseInfo(string(data)), nil
}

// parseInfo reads "key=value" strings that end in NUL. Names in Depends are
// brought to the kernel's form, with underscores.
func parseInfo(data string) Info {
	var info Info
	for field := range strings.SplitSeq(data, "\x00") {
		key, value, _ := strings.Cut(field, "=")
		switch key {
		case "depends":
			for dep := range strings.SplitSeq(value, ",") {
				if dep != "" {
					info.Depends = append(info.Depends, moduleName(dep))
				}
			}
		case "softdep":
			info.Soft = append(info.Soft, softPre(value)...)
		case "alias":
			info.Aliases = append(info.Aliases, value)
		}
	}
	return info
}

// softPre returns the names after "pre:" and before "post:" (modprobe.d(5)).
func softPre(value string) []string {
	var names []string
	pre := false
	for word := range strings.FieldsSeq(value) {
		switch {
		case strings.HasSuffix(word, ":"):
			pre = word == "pre:"
		case pre:
			names = append(names, word)
		}
	}
	return names
}

// moduleName is a module's name as the kernel writes it.
func moduleName(s string) string { return strings.ReplaceAll(s, "-", "_") }
