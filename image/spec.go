package image

import (
	"embed"
	"io/fs"
	"path"
	"slices"

	"sealbay/image/initramfs"
)

// Spec says what an image holds.
type Spec struct {
	Modules  []string          // kernel modules by name; what they depend on comes along
	Programs map[string]string // Go package of a command -> path in the image
	Files    []initramfs.File
}

// The kernel modules, by what they are for. Drivers are loaded where the
// machine has the device; the rest when a program asks for what they offer.
var (
	driveModules = []string{
		"virtio_blk", "virtio_scsi", "nvme", "ahci", "ata_piix", "sd_mod", "sg", "ses", "enclosure",
		"mpt3sas", "mpi3mr", "megaraid_sas", "smartpqi", "hpsa", "aacraid", "arcmsr", "pm80xx", "isci", "mvsas",
		"vmd", "xhci_pci", "ehci_pci", "usb_storage", "uas", "vmw_pvscsi", "mptspi",
	}
	networkModules = []string{
		"virtio_net", "e1000", "e1000e", "igb", "igc", "ixgbe", "i40e", "ice", "tg3", "bnxt_en", "bnx2x", "r8169", "vmxnet3",
		"mlx4_en", "mlx5_core", "atlantic", "ena", "hv_netvsc",
	}
	exportModules  = []string{"nbd", "ublk_drv", "nvmet_tcp", "nvme_tcp", "loop"}
	systemModules  = []string{"ext4", "crc32c_generic", "crc32c_intel", "vfat", "nls_cp437", "nls_ascii", "efivarfs", "tpm_tis", "tpm_crb", "iTCO_wdt", "i6300esb", "sp5100_tco", "ipmi_si", "ipmi_watchdog", "virtio_rng", "usbhid", "hid_generic", "button"}
	compareModules = []string{ // what the bench and the tests hold our own encryption against
		"dm_crypt", "xts", "aesni_intel", "essiv", "authenc", "af_alg", "algif_skcipher", "algif_hash", "null_blk", "brd", "zram", "dm_mod", "dm_flakey", "dm_log_writes",
	}
)

// uroot is the handful of u-root commands for who looks at a box from a
// console. Built one by one: u-root's own busybox takes two minutes and a half.
var uroot = []string{"cat", "dd", "df", "dmesg", "gosh", "hexdump", "ip", "ls", "lsmod", "mount", "ps", "umount"}

//go:embed jobs/*.job
var jobs embed.FS

// bare boots and runs a test on the drives of scripts/vmrun.
func bare() Spec {
	return Spec{
		Modules:  []string{"virtio_pci", "virtio_console", "virtio_rng", "virtio_blk", "nvme", "ahci", "sd_mod", "crc32c_generic", "crc_t10dif"},
		Programs: map[string]string{"sealbay/appliance/cmd/init": "/init"},
		Files:    []initramfs.File{{Name: "/sbin/modprobe", Target: "/init"}},
	}
}

// Default is the appliance.
func Default() (Spec, error) {
	s := Spec{
		Modules: slices.Concat(driveModules, networkModules, exportModules, systemModules, compareModules),
		Programs: map[string]string{
			"sealbay/appliance/cmd/init":     "/init",
			"sealbay/appliance/cmd/qq":       "/bin/qq",
			"sealbay/appliance/cmd/sealbayd": "/bin/sealbayd",
			"sealbay/bench/cmd/sealbench":    "/bin/sealbench",
			"sealbay/blockcrypt/cmd/sealvol": "/bin/sealvol",
		},
		Files: []initramfs.File{
			{Name: "/sbin/modprobe", Target: "/init"}, // the kernel calls it for what it misses
			{Name: "/etc/passwd", Mode: 0o644, Data: []byte("root:x:0:0:root:/:/bin/gosh\n")},
			{Name: "/etc/group", Mode: 0o644, Data: []byte("root:x:0:\nsealbay-admin:x:900:\nsealbay-read:x:901:\n")}, // qq's privileges
		},
	}
	for _, name := range uroot {
		s.Programs["github.com/u-root/u-root/cmds/core/"+name] = "/bin/" + name
	}
	entries, err := fs.ReadDir(jobs, "jobs")
	if err != nil {
		return Spec{}, err
	}
	for _, e := range entries {
		text, err := fs.ReadFile(jobs, path.Join("jobs", e.Name()))
		if err != nil {
			return Spec{}, err
		}
		s.Files = append(s.Files, initramfs.File{Name: "/etc/sealbay/" + e.Name(), Mode: 0o644, Data: text})
	}
	return s, nil
}
