# A machine with NVIDIA GPUs: docker build -f docker/gpu.Dockerfile -t hanlin:gpu .
#   docker run --rm --gpus all --ipc=host -v "$PWD":/work -w /work hanlin:gpu finetune --config finetune.yaml --out adapter
FROM nvidia/cuda:12.8.1-runtime-ubuntu24.04
RUN apt-get update && apt-get install -y --no-install-recommends gcc python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
ENV PATH=/opt/venv/bin:$PATH
RUN python3 -m venv /opt/venv
WORKDIR /opt/hanlin
COPY constraints.txt ./
RUN pip install --no-cache-dir -c constraints.txt torch
COPY . .
RUN pip install --no-cache-dir -c constraints.txt '.[train,data,cpu,plot,quantize,serve,extract]'
RUN useradd --create-home hanlin
USER hanlin
ENTRYPOINT ["hanlin"]
CMD ["--help"]
