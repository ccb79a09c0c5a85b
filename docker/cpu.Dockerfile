# A machine without a GPU: docker build -f docker/cpu.Dockerfile -t hanlin .
#   docker run --rm -v "$PWD":/work -w /work hanlin run quickstart
FROM python:3.11-slim
WORKDIR /opt/hanlin
COPY constraints.txt ./
RUN pip install --no-cache-dir -c constraints.txt --extra-index-url https://download.pytorch.org/whl/cpu torch
COPY . .
RUN pip install --no-cache-dir -c constraints.txt '.[train,data,cpu,plot,quantize,serve,extract]'
RUN useradd --create-home hanlin
USER hanlin
ENTRYPOINT ["hanlin"]
CMD ["--help"]
