package lint

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// repo is what the rules look at.
type repo struct {
	root     string
	files    []string // tracked, or new and not ignored; paths below root
	packages []pkg
}

// pkg is what `go list` says of a package.
type pkg struct {
	ImportPath                         string
	Name                               string
	Deps                               []string
	Imports, TestImports, XTestImports []string
}

// path is the package's folder in the repository, "." for the top.
func (p pkg) path() string { return strings.TrimPrefix(p.ImportPath, "sealbay/") }

func (p pkg) imports() []string {
	return append(append(append([]string{}, p.Imports...), p.TestImports...), p.XTestImports...)
}

var load = sync.OnceValues(func() (repo, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return repo{}, err
	}
	r := repo{root: root}
	// safe.directory: a checkout may belong to another user than root.
	out, err := output(root, "git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if err != nil {
		return r, err
	}
	for file := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		if _, err := os.Lstat(filepath.Join(root, file)); err == nil {
			r.files = append(r.files, file)
		}
	}
	if out, err = output(root, "go", "list", "-json=ImportPath,Name,Deps,Imports,TestImports,XTestImports", "./..."); err != nil {
		return r, err
	}
	for d := json.NewDecoder(strings.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return r, nil
		} else if err != nil {
			return r, err
		}
		r.packages = append(r.packages, p)
	}
})

func output(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.Output()
	return string(out), err
}

func theRepo(t *testing.T) repo {
	t.Helper()
	r, err := load()
	if err != nil {
		t.Fatal(err)
	}
	if len(r.files) == 0 || len(r.packages) == 0 {
		t.Fatalf("%d files and %d packages found: the rules would hold anything", len(r.files), len(r.packages))
	}
	return r
}

// goFile is a parsed source file.
type goFile struct {
	path string
	ast  *ast.File
	set  *token.FileSet
}

// goFiles parses the tracked Go files of the module; tests too if asked.
func (r repo) goFiles(t *testing.T, tests bool) []goFile {
	t.Helper()
	var all []goFile
	for _, path := range r.files {
		if !strings.HasSuffix(path, ".go") || strings.Contains(path, "/_") || strings.Contains(path, "/testdata/") {
			continue // _asm is a module of its own
		}
		if strings.HasSuffix(path, "_test.go") && !tests {
			continue
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, filepath.Join(r.root, path), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, goFile{path, f, set})
	}
	return all
}

// under says whether path is dir or lies below it.
func under(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }
