# Every target sets up what it needs; repeats are quick and need no network.
SWIFT_BUILD = swift build -c release -Xswiftc -warnings-as-errors
SWIFT_TEST = swift test -c release -Xswiftc -warnings-as-errors --disable-xctest
SWIFT_PATHS = Package.swift Sources Tests Examples

.PHONY: help bootstrap build test check lint format demo extract-demo interop bench perplexity formats \
  bench-scaling method-comparison process-page clean

help:            ## This list
	@sed -n 's/^\([a-z-]*\): .*## /\1\t/p;s/^\([a-z-]*\):  *## /\1\t/p' Makefile | expand -t 14

bootstrap:       ## Libraries, LibTorch and the file through which SwiftPM finds it
	@scripts/bootstrap

build: bootstrap ## The library and the command, at .build/release/graft
	$(SWIFT_BUILD)

test: bootstrap  ## All tests; the README's examples are among them
	$(SWIFT_TEST)

lint:            ## Format, layers of imports, size of files
	swift format lint --strict -r $(SWIFT_PATHS)
	scripts/check-layers
	scripts/check-size

format:          ## Put the sources into shape
	swift format -i -r $(SWIFT_PATHS)

check: lint test ## What has to hold before a commit
	scripts/check-readme
	scripts/check-dependency

demo: build      ## Fine-tune SmolLM2-135M-Instruct on dates in words
	@scripts/demo

extract-demo: build ## Train all of SmolLM2's weights, extract an adapter, compare
	@scripts/extract-demo

interop: build   ## Compare with transformers and PEFT (installs them into .peers)
	@scripts/peers
	@scripts/interop/run

bench: build     ## Time ours against the peers; writes Documentation/Benchmarks.md
	@scripts/peers
	@scripts/bench

bench-scaling: build ## How a step's cost grows, beside its bounds; into the same page
	@scripts/peers
	@scripts/bench --only scaling

perplexity: build ## SmolLM2's perplexity in each format, beside bitsandbytes' own
	@scripts/peers
	@scripts/perplexity-table

formats: build   ## The demo's fine-tune on a base of each format
	@scripts/compare-formats

method-comparison: build ## The demo's fine-tune by the adapter methods of Recipes/methods.tsv; writes Documentation/Methods.md
	@scripts/method-comparison

process-page: build ## Bytes and times of several processes, counted, measured and predicted; writes Documentation/Processes.md
	@scripts/process-page

clean:
	rm -rf .build demo-output
