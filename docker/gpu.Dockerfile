# A machine with NVIDIA GPUs: docker build -f docker/gpu.Dockerfile -t hanlin:gpu .
#   docker run --rm --gpus all --ipc=host --user "$(id -u):$(id -g)" -v "$PWD":/work \
#     hanlin:gpu finetune --config finetune.yaml --out adapter
# CUDA's libraries come with torch; of the host only the driver is used.
FROM nvidia/cuda:12.8.1-base-ubuntu24.04
# Triton compiles with gcc and Python's headers.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
ENV PATH=/opt/venv/bin:$PATH
RUN python3 -m venv /opt/venv
WORKDIR /opt/hanlin
COPY constraints.txt ./
RUN pip install --no-cache-dir -c constraints.txt torch
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip install --no-cache-dir -c constraints.txt '.[train,data,cpu,plot,quantize,serve,extract,dpo,curves]'
# The name, so that a user id of the host that is unknown here has one, too; a home for any of them.
ENV HOME=/home/hanlin USER=hanlin
RUN useradd --home-dir "$HOME" --create-home hanlin && chmod 1777 "$HOME" && install -d -m 1777 /work
USER hanlin
WORKDIR /work
EXPOSE 8090
ENTRYPOINT ["hanlin"]
CMD ["--help"]
