package kernel

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Tree is the modules of an unpacked package.
type Tree struct {
	dir     string
	paths   map[string]string // by name: path below dir, "kernel/fs/ext4/ext4.ko.xz"
	builtin map[string]bool   // in the kernel itself, nothing to load
}

// Module is one module of a Selection.
type Module struct {
	Name string // with underscores, as the kernel writes it
	Path string // below lib/modules/RELEASE
	File string // on the build machine
	Info
}

func openTree(dir string) (*Tree, error) {
	t := &Tree{dir: dir, paths: map[string]string{}, builtin: map[string]bool{}}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(strings.TrimSuffix(filepath.Base(path), ".xz"), ".ko"); ok && err == nil {
			t.paths[moduleName(name)], err = filepath.Rel(dir, path)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	list, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	for path := range strings.FieldsSeq(string(list)) {
		t.builtin[moduleName(strings.TrimSuffix(filepath.Base(path), ".ko"))] = true
	}
	return t, nil
}

// Selection is modules that can be loaded without any other: whatever one
// depends on comes before it.
type Selection []Module

// Select returns the named modules and all they depend on, in an order in
// which each can be loaded after those before it. A name that is built into
// the kernel needs nothing; one that the package does not know is an error.
func (t *Tree) Select(names []string) (Selection, error) {
	w := &walk{tree: t, seen: map[string]bool{}}
	names = slices.Clone(names)
	slices.Sort(names)
	for _, name := range names {
		if err := w.add(moduleName(name), ""); err != nil {
			return nil, err
		}
	}
	return w.out, nil
}

// walk is a depth-first visit of the dependencies.
type walk struct {
	tree *Tree
	seen map[string]bool
	out  Selection
}

func (w *walk) add(name, neededBy string) error {
	if w.seen[name] || w.tree.builtin[name] {
		return nil
	}
	w.seen[name] = true
	path, ok := w.tree.paths[name]
	if !ok && neededBy != "" {
		return fmt.Errorf("module %s, needed by %s, is not in the kernel package", name, neededBy)
	}
	if !ok {
		return fmt.Errorf("module %s is not in the kernel package", name)
	}
	m := Module{Name: name, Path: path, File: filepath.Join(w.tree.dir, path)}
	var err error
	if m.Info, err = readInfo(m.File); err != nil {
		return err
	}
	for _, soft := range m.Soft {
		if w.tree.paths[moduleName(soft)] == "" {
			continue // an alias, such as crypto-crc32c: what serves it is named in the spec
		}
		if err := w.add(moduleName(soft), name); err != nil {
			return err
		}
	}
	for _, dep := range m.Depends {
		if err := w.add(dep, name); err != nil {
			return err
		}
	}
	w.out = append(w.out, m)
	return nil
}

// Dep returns the selection's modules.dep (modules.dep(5)): a module's path,
// then the paths of all that must be loaded before it, the last one first.
func (s Selection) Dep() string {
	byName := map[string]Module{}
	for _, m := range s {
		byName[m.Name] = m
	}
	var b strings.Builder
	for _, m := range s {
		b.WriteString(m.Path + ":")
		for _, dep := range slices.Backward(closure(byName, m)) {
			b.WriteString(" " + byName[dep].Path)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// closure lists what m depends on, each after its own dependencies.
func closure(byName map[string]Module, m Module) []string {
	var order []string
	var visit func(Module)
	visit = func(m Module) {
		for _, dep := range m.Depends {
			if d, ok := byName[dep]; ok && !slices.Contains(order, dep) {
				visit(d)
				order = append(order, dep)
			}
		}
	}
	visit(m)
	return order
}

// Alias returns the selection's modules.alias: "alias PATTERN NAME" lines.
func (s Selection) Alias() string {
	var b strings.Builder
	for _, m := range s {
		for _, pattern := range m.Aliases {
			fmt.Fprintf(&b, "alias %s %s\n", pattern, m.Name)
		}
	}
	return b.String()
}

// SoftDep returns the selection's modules.softdep: "softdep NAME pre: ..." lines.
func (s Selection) SoftDep() string {
	var b strings.Builder
	for _, m := range s {
		if len(m.Soft) > 0 {
			fmt.Fprintf(&b, "softdep %s pre: %s\n", m.Name, strings.Join(m.Soft, " "))
		}
	}
	return b.String()
}
