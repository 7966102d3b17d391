package boot

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Modules loads kernel modules and what they depend on, by name or by the
// alias of a device or service. It reads the tables of depmod(8): modules.dep,
// modules.alias and modules.softdep. Its methods may be called from any
// goroutine.
type Modules struct {
	dir     string
	deps    map[string][]string // by name: paths to load, in order, the module last
	soft    map[string][]string // by name: modules or aliases to try before it
	aliases []alias

	mu     sync.Mutex      // guards loaded, and lets one module load at a time
	loaded map[string]bool // by path
}

// alias says that module is for what matches pattern. Thousands are tried for
// each device, so the part before the first wildcard is kept to compare first.
type alias struct{ prefix, pattern, module string }

// ReadModules reads the tables below dir, /lib/modules/RELEASE.
func ReadModules(dir string) (*Modules, error) {
	m := &Modules{dir: dir, deps: map[string][]string{}, soft: map[string][]string{}, loaded: map[string]bool{}}
	return m, errors.Join(
		readTable(filepath.Join(dir, "modules.dep"), m.addDep),
		readTable(filepath.Join(dir, "modules.alias"), m.addAlias),
		readTable(filepath.Join(dir, "modules.softdep"), m.addSoft),
	)
}

func readTable(path string, line func(words []string)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		if words := strings.Fields(s.Text()); len(words) > 0 && !strings.HasPrefix(words[0], "#") {
			line(words)
		}
	}
	return s.Err()
}

// addDep takes "path: dep dep", the dependency to load first standing last.
func (m *Modules) addDep(words []string) {
	self := strings.TrimSuffix(words[0], ":")
	order := make([]string, 0, len(words))
	for i := len(words) - 1; i > 0; i-- {
		order = append(order, words[i])
	}
	m.deps[nameOf(self)] = append(order, self)
}

// addAlias takes "alias PATTERN NAME".
func (m *Modules) addAlias(words []string) {
	if len(words) == 3 && words[0] == "alias" {
		pattern := folded(words[1])
		prefix := pattern
		if i := strings.IndexAny(pattern, `*?[\`); i >= 0 {
			prefix = pattern[:i]
		}
		m.aliases = append(m.aliases, alias{prefix, pattern, normal(words[2])})
	}
}

// addSoft takes "softdep NAME pre: NAME...".
func (m *Modules) addSoft(words []string) {
	if len(words) > 3 && words[0] == "softdep" && words[2] == "pre:" {
		for _, name := range words[3:] {
			m.soft[normal(words[1])] = append(m.soft[normal(words[1])], name)
		}
	}
}

// nameOf is the module's name in "kernel/drivers/md/dm-crypt.ko.xz".
func nameOf(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".")
	return normal(name)
}

// normal is a module's name as the kernel writes it.
func normal(name string) string { return strings.ReplaceAll(name, "-", "_") }

// folded brings an alias or pattern to the form they are compared in: '-'
// and '_' are the same to modprobe(8), and path.Match must not stop at '/'.
func folded(alias string) string { return strings.NewReplacer("-", "_", "/", "\x01").Replace(alias) }

// Find returns the modules for a name or an alias: a module of that name, else
// all whose alias pattern matches.
func (m *Modules) Find(name string) []string {
	if m.deps[normal(name)] != nil {
		return []string{normal(name)}
	}
	name = folded(name)
	var found []string
	for _, a := range m.aliases {
		if !strings.HasPrefix(name, a.prefix) {
			continue
		}
		if ok, err := path.Match(a.pattern, name); ok && err == nil {
			found = append(found, a.module)
		}
	}
	return found
}

// Load loads what a name or alias stands for. Unknown names are no error: most
// devices need no module, or one that the image leaves out.
func (m *Modules) Load(name string) error {
	var errs error
	for _, module := range m.Find(name) {
		m.mu.Lock()
		errs = errors.Join(errs, m.load(module, map[string]bool{}))
		m.mu.Unlock()
	}
	return errs
}

// Loaded is the number of modules loaded by m.
func (m *Modules) Loaded() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.loaded)
}

// load loads one module. under are those whose loading led here: soft
// dependencies may form a circle.
func (m *Modules) load(name string, under map[string]bool) error {
	if under[name] {
		return nil
	}
	under[name] = true
	for _, soft := range m.soft[name] {
		for _, module := range m.Find(soft) {
			if err := m.load(module, under); err != nil {
				return err
			}
		}
	}
	for _, file := range m.deps[name] {
		if m.loaded[file] {
			continue
		}
		if err := insert(filepath.Join(m.dir, file)); err != nil {
			if absent(err) {
				return nil
			}
			return fmt.Errorf("module %s: %w", nameOf(file), err)
		}
		m.loaded[file] = true
	}
	return nil
}

// absent: the module found nothing here to drive, and said so.
func absent(err error) bool { return errors.Is(err, unix.ENODEV) }

// insert hands a module file to the kernel, which unpacks it (finit_module(2)).
func insert(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	flags := 0
	if !strings.HasSuffix(file, ".ko") {
		flags = unix.MODULE_INIT_COMPRESSED_FILE
	}
	if err := unix.FinitModule(int(f.Fd()), "", flags); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}

// Modprobe is what the kernel calls as /sbin/modprobe -q -- NAME when a program
// asks for a file system, cipher or device-mapper target that is not loaded.
func Modprobe(args []string, stderr io.Writer) int {
	release, err := kernelRelease()
	if err != nil {
		fmt.Fprintf(stderr, "modprobe: %v\n", err)
		return 1
	}
	modules, err := ReadModules("/lib/modules/" + release)
	if err != nil {
		fmt.Fprintf(stderr, "modprobe: %v\n", err)
		return 1
	}
	code := 0
	for _, name := range args {
		if strings.HasPrefix(name, "-") {
			continue
		}
		if err := modules.Load(name); err != nil {
			fmt.Fprintf(stderr, "modprobe %s: %v\n", name, err)
			code = 1
		}
		if len(modules.Find(name)) == 0 {
			code = 1 // the kernel tries another name, or says what is missing
		}
	}
	return code
}
