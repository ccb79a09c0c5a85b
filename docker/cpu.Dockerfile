# A machine without a GPU: docker build -f docker/cpu.Dockerfile -t hanlin .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD":/work hanlin run quickstart
#   docker run --rm -p 127.0.0.1:8090:8090 -v "$PWD":/work hanlin serve runs/quickstart --host 0.0.0.0
FROM python:3.11-slim
# llama.cpp's library wants OpenMP's.
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/hanlin
COPY constraints.txt ./
RUN pip install --no-cache-dir -c constraints.txt --extra-index-url https://download.pytorch.org/whl/cpu torch
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
