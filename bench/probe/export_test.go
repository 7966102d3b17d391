package probe

// OpenOld opens a probe as on a kernel without block_io_start.
func OpenOld(o Options) (*Probe, error) {
	return open(o, func(requests bool) []hook { return withoutIOStart(stageHooks(requests)) })
}

// OpenLiveOld is OpenLive on such a kernel.
func OpenLiveOld(path string) (*Live, error) {
	return openLive(path, func(t *target) []hook { return withoutIOStart(t.liveHooks()) })
}

func withoutIOStart(hooks []hook) []hook {
	for i, h := range hooks {
		if h.name == "block_io_start" {
			hooks[i].choices = h.choices[1:]
		}
	}
	return hooks
}
