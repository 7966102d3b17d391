package lint

import (
	"bytes"
	"go/ast"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var topLevel = []string{
	"appliance", "blockcrypt", "keyring", "bench", "image", "scripts", "go.mod", "go.sum", "Makefile",
	"README.md", "LICENSE", "CHANGELOG.md", ".ci",
}

func TestTopLevel(t *testing.T) {
	for _, file := range theRepo(t).files {
		if top, _, _ := strings.Cut(file, "/"); !slices.Contains(topLevel, top) {
			t.Errorf("%s: the rooms of the house are fixed: %s", file, strings.Join(topLevel, " "))
		}
	}
}

// TestMains: main parses flags, calls run and exits.
func TestMains(t *testing.T) {
	const most = 60 // lines
	found := 0
	for _, f := range theRepo(t).goFiles(t, false) {
		if f.ast.Name.Name != "main" || !hasFunc(f.ast, "main") {
			continue
		}
		found++
		if lines := f.set.File(f.ast.Pos()).LineCount(); lines > most {
			t.Errorf("%s has %d lines, at most %d: main holds no logic, so that all of it can be tested", f.path, lines, most)
		}
		if dir := filepath.Dir(f.path); !strings.Contains(dir, "/cmd/") && !under(dir, "scripts") {
			t.Errorf("%s: programs stand in FOLDER/cmd/NAME, where they are looked for", f.path)
		}
	}
	if found == 0 {
		t.Error("no main found: this rule looks at nothing")
	}
}

// TestNoInit: CPU detection is the exception.
func TestNoInit(t *testing.T) {
	for _, f := range theRepo(t).goFiles(t, false) {
		if hasFunc(f.ast, "init") && !under(f.path, "blockcrypt/xts") {
			t.Errorf("%s has func init: libraries register nothing, what runs is called", f.path)
		}
	}
}

func hasFunc(f *ast.File, name string) bool {
	return slices.ContainsFunc(f.Decls, func(d ast.Decl) bool {
		fn, ok := d.(*ast.FuncDecl)
		return ok && fn.Recv == nil && fn.Name.Name == name
	})
}

// TestPackageComments: a package is a noun that a reader looks up.
func TestPackageComments(t *testing.T) {
	documented, all := map[string]bool{}, map[string]bool{}
	for _, f := range theRepo(t).goFiles(t, false) {
		dir := filepath.Dir(f.path)
		all[dir] = true
		documented[dir] = documented[dir] || f.ast.Doc != nil
	}
	for dir := range all {
		if !documented[dir] {
			t.Errorf("package %s has no comment: say what it is for, what it promises and what it does not do", dir)
		}
	}
}

// TestNoBinaries: what others made is fetched and checked, never committed.
func TestNoBinaries(t *testing.T) {
	r := theRepo(t)
	for _, file := range r.files {
		if under(file, "bench/probe") && strings.HasSuffix(file, ".o") {
			continue // bpf2go's, from sources beside them, so that building needs no clang
		}
		if kind := binary(t, filepath.Join(r.root, file)); kind != "" && !strings.Contains(file, "/testdata/") {
			t.Errorf("%s is %s: programs, kernels and archives are fetched and checked, never committed", file, kind)
		}
	}
}

func binary(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	head := make([]byte, 8)
	n, _ := f.Read(head) // an empty file has no head
	for magic, kind := range map[string]string{
		"\x7fELF": "an ELF file", "MZ": "a PE file", "!<arch>": "an archive", "\x1f\x8b": "gzip data", "\xfd7zXZ": "xz data",
		"\x28\xb5\x2f\xfd": "zstd data", "PK\x03\x04": "a zip file", "070701": "a cpio archive",
	} {
		if bytes.HasPrefix(head[:n], []byte(magic)) {
			return kind
		}
	}
	return ""
}

// TestGofmt: so that a diff shows what was meant.
func TestGofmt(t *testing.T) {
	r := theRepo(t)
	args := []string{"-l"}
	for _, file := range r.files {
		if strings.HasSuffix(file, ".go") {
			args = append(args, file)
		}
	}
	out, err := output(r.root, "gofmt", args...)
	if err != nil {
		t.Fatal(err)
	}
	if out != "" {
		t.Errorf("not formatted by gofmt:\n%s", out)
	}
}
