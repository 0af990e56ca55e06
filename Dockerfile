# One image for all processes of the site; compose.yaml sets the command of each container.
FROM python:3.11-slim-bookworm

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 VAR_DIR=/site/var HOST=0.0.0.0
WORKDIR /site

COPY requirements.txt constraints.txt ./
RUN pip install -r requirements.txt -c constraints.txt

COPY manage.py pyproject.toml ./
COPY clothes_matcher clothes_matcher
COPY catalog catalog
COPY demo demo
COPY locale locale
COPY ml ml
COPY worker worker
COPY templates templates

# collectstatic needs any SECRET_KEY; the running site has its own. The container runs as the user `site`, not root.
RUN SECRET_KEY=build python manage.py collectstatic --no-input --verbosity 0 \
    && useradd --system --home-dir /site site \
    && mkdir -p var/media var/encoders var/runs var/training-data && chown -R site var
USER site
EXPOSE 8000
CMD ["gunicorn", "clothes_matcher.wsgi", "--config", "clothes_matcher/gunicorn.py"]
