package boot

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// tables writes what depmod would.
func tables(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"modules.dep": "kernel/crypto/xts.ko.xz:\nkernel/drivers/md/dm-mod.ko.xz:\n" +
			"kernel/drivers/md/dm-crypt.ko.xz: kernel/drivers/md/dm-mod.ko.xz kernel/crypto/xts.ko.xz\n" +
			"kernel/drivers/nvme/host/nvme.ko: kernel/drivers/nvme/host/nvme-core.ko\nkernel/drivers/nvme/host/nvme-core.ko:\n",
		"modules.alias": "# comment\nalias pci:v*d*sv*sd*bc01sc08i02* nvme\nalias crypto-xts xts\nalias dm-target-crypt dm_crypt\n" +
			"alias acpi*:PNP0A0[38]:* pcihost\nalias of:N*T*Cvendor,a/b nvme\n",
		"modules.softdep": "softdep dm_crypt pre: sha256 xts\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFind(t *testing.T) {
	m, err := ReadModules(tables(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		"dm-crypt": {"dm_crypt"},
		"dm_crypt": {"dm_crypt"},
		"pci:v00001B36d00000010sv00001AF4sd00001100bc01sc08i02": {"nvme"},
		"pci:v00001B36d00000010sv00001AF4sd00001100bc02sc00i00": nil,
		"crypto-xts":                 {"xts"},
		"dm-target-crypt":            {"dm_crypt"},
		"acpi:PNP0A03:":              {"pcihost"},
		"acpi:PNP0A05:":              nil,
		"of:NdiskT(null)Cvendor,a/b": {"nvme"},
		"":                           nil,
	} {
		if got := m.Find(name); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}

// TestOrder: modules.dep(5) names the dependency to load first last.
func TestOrder(t *testing.T) {
	m, err := ReadModules(tables(t))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"kernel/crypto/xts.ko.xz", "kernel/drivers/md/dm-mod.ko.xz", "kernel/drivers/md/dm-crypt.ko.xz"}
	if got := m.deps["dm_crypt"]; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got := m.soft["dm_crypt"]; !reflect.DeepEqual(got, []string{"sha256", "xts"}) {
		t.Errorf("soft: %v", got)
	}
}

// TestSoftCircle: two modules may each want the other first.
func TestSoftCircle(t *testing.T) {
	dir := tables(t)
	if err := os.WriteFile(filepath.Join(dir, "modules.softdep"), []byte("softdep xts pre: dm-target-crypt\nsoftdep dm_crypt pre: crypto-xts\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := ReadModules(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Load("xts"); err == nil || !strings.Contains(err.Error(), "xts") { // the file is not there
		t.Errorf("%v", err)
	}
}

func TestMissingTable(t *testing.T) {
	dir := tables(t)
	if err := os.Remove(filepath.Join(dir, "modules.alias")); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadModules(dir); err == nil || !strings.Contains(err.Error(), "modules.alias") {
		t.Errorf("error %v, want one that names modules.alias", err)
	}
}

// TestColdplug: every modalias below the root is plugged, once.
func TestColdplug(t *testing.T) {
	m, err := ReadModules(tables(t))
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	for _, dev := range []string{"pci0/a", "pci0/a/b", "pci0/c"} {
		if err := os.MkdirAll(filepath.Join(root, dev), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, dev, "modalias"), []byte("pci:v1d1sv1sd1bc01sc08i02\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var warned []string
	newPlugger(m, func(err error) { warned = append(warned, err.Error()) }).coldplug(root)
	// The module's file is not there, which is said, once.
	if len(warned) != 1 || !strings.Contains(warned[0], "nvme_core") || m.Loaded() != 0 {
		t.Errorf("%d modules loaded, warned %q", m.Loaded(), warned)
	}
}
