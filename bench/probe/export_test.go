package probe

// OpenOld opens a probe as on a kernel without block_io_start.
func OpenOld(o Options) (*Probe, error) {
	return open(o, func(requests bool) []hook {
		hooks := stageHooks(requests)
		for i, h := range hooks {
			if h.name == "block_io_start" {
				hooks[i].choices = h.choices[1:]
			}
		}
		return hooks
	})
}
